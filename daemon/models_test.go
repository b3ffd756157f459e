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
		os.Exit(Child())
	}
	os.Exit(m.Run())
}

// TestEveryModelKeepsThePromises runs the tests of what clients may rely on once more for each other model.
func TestEveryModelKeepsThePromises(t *testing.T) {
	if os.Getenv(modelVariable) != "" {
		t.Skip("this is a model's own run")
	}
	for _, model := range []string{"thread", "process"} {
		t.Run(model, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run="+promises, "-test.timeout=5m")
			cmd.Env = append(os.Environ(), modelVariable+"="+model)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// promises are the tests that a model may not change the outcome of.
const promises = "."
