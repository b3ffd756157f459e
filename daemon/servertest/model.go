package servertest

import (
	"os"
	"os/exec"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/program"
	"tcpmux/daemon/worker"
)

// modelVariable names the model of the first listener of Config; unset: the default one.
const modelVariable = "TCPMUX_TEST_MODEL"

// Model returns the model that tests run with; "" is the default one.
func Model() string { return os.Getenv(modelVariable) }

// Main runs a package's tests. The test binary is also the session's process and what becomes a
// program, as a server in a test starts its own executable for those.
func Main(m *testing.M) {
	switch os.Args[0] {
	case worker.ProcessName:
		os.Exit(worker.Main(os.Args))
	case program.ExecName:
		os.Exit(program.Exec(os.Args))
	}
	os.Exit(m.Run())
}

// EveryModel runs the package's tests once more for each model but the default one, without the
// calling test and those that the pattern skip matches; "" skips no others.
func EveryModel(t *testing.T, skip string) {
	t.Helper()
	not := "^" + t.Name() + "$"
	if skip != "" {
		not += "|" + skip
	}
	for _, model := range []string{"thread", "process"} {
		t.Run(model, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.skip="+not, "-test.timeout=25m")
			cmd.Env = append(os.Environ(), modelVariable+"="+model)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// ByProcess has the clients of the first listener served by processes.
func ByProcess(c *config.Config) { c.Listeners[0].Model = "process" }
