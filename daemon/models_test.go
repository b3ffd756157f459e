package daemon

import (
	"os"
	"os/exec"
	"testing"
)

// modelVariable names the model that the tests of this package serve their clients by; unset: a goroutine.
const modelVariable = "TCPMUX_TEST_MODEL"

// TestMain is the session process too: the daemon in a test starts its own executable, as any daemon does.
func TestMain(m *testing.M) {
	if os.Args[0] == ChildName {
		os.Exit(Child(os.Args))
	}
	if os.Args[0] == StarterName {
		os.Exit(Start(os.Args))
	}
	os.Exit(m.Run())
}

// others are the models besides the default one, each with the tests that are not for it: this table itself, which would not
// end; those of programs, which have no model; and, as a hundred processes under the race detector do not start in a second, what
// the default configuration promises.
var others = map[string]string{
	"thread":  "^(TestEveryModelKeepsThePromises|Test.*Program.*)$",
	"process": "^(TestEveryModelKeepsThePromises|TestAHundredInOneInstantAreGreeted|Test.*Program.*)$",
}

// TestEveryModelKeepsThePromises runs the tests of this package once more for each other model.
func TestEveryModelKeepsThePromises(t *testing.T) {
	for model, not := range others {
		t.Run(model, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.skip="+not, "-test.timeout=25m")
			cmd.Env = append(os.Environ(), modelVariable+"="+model)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
