package main

import (
	"io"
	"os"
	"regexp"
	"testing"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/clitest"
)

// TestProgramsInheritNothing of the daemon, nor of the process that started it: no descriptor, no
// variable, no signal that is ignored.
func TestProgramsInheritNothing(t *testing.T) {
	script := `exec = ["/bin/sh", "-c", "ls /proc/$$/fd; env | cut -d= -f1 | sort; sed -n 's/^SigIgn:.//p' /proc/self/status"]`
	for name, top := range map[string]string{"at once": script, "by the starter": script + "\nexec_memory = \"1GiB\""} {
		t.Run(name, func(t *testing.T) {
			cmd := tcpmux(t, "run", "--config", settings(t, t.TempDir(), "127.0.0.1:0", top, ""))
			cmd.Env = append(os.Environ(), "SECRET=1")
			cmd.ExtraFiles = []*os.File{devNull(t), devNull(t)}
			_, address := started(t, cmd)
			got, err := io.ReadAll(dial(t, address))
			if err != nil {
				t.Fatal(err)
			}
			// Signals 32 and 33 are the C library's own. The process that started the test
			// may have them ignored.
			want := regexp.MustCompile(`^0\n1\n2\nPATH\nPROTO\nPWD\nTCPLOCALIP\nTCPLOCALPORT\nTCPMUX_LISTENER\nTCPMUX_SESSION\nTCPREMOTEIP\n` +
				`TCPREMOTEPORT\n0{7}[01][08]0{7}\n$`)
			if !want.Match(got) {
				t.Errorf("got %q, want %v", got, want)
			}
		})
	}
}

func TestADaemonWhoseProgramCannotRunDoesNotStart(t *testing.T) {
	path := settings(t, t.TempDir(), "127.0.0.1:0", `exec = ["/no/such/program"]`, "")
	status, _, stderr := clitest.Outcome(t, tcpmux(t, "run", "--config", path))
	if status != cli.StatusConfig {
		t.Errorf("status: got %d, want %d", status, cli.StatusConfig)
	}
	clitest.Contains(t, "stderr", stderr, `listener "tcpmux"`)
	clitest.Contains(t, "stderr", stderr, `exec "/no/such/program": no such file or directory`)
}
