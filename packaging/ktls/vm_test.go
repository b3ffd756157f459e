//go:build ktls

package ktls

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// logs returns where each machine leaves what its tests (.log) and its kernel (.console) have
// written.
func logs() string { return cmp.Or(os.Getenv("KTLS_BUILD"), "../../build/ktls") }

// The machines of all suites run at the same time, once for each thing that there may be of kernel
// TLS.
func TestGuests(t *testing.T) {
	for _, module := range words("KTLS_MODULE", "loaded loadable missing") {
		t.Run(module, func(t *testing.T) {
			for _, suite := range words("KTLS_SUITE", "bookworm trixie") {
				t.Run(suite, func(t *testing.T) {
					t.Parallel()
					boot(t, suite, module)
				})
			}
		})
	}
}

// words returns the words of an environment variable, or those of otherwise if it has none.
func words(name, otherwise string) []string {
	if all := strings.Fields(os.Getenv(name)); len(all) > 0 {
		return all
	}
	return strings.Fields(otherwise)
}

// boot runs the tests of package guest in a machine, which ends by itself in any case.
func boot(t *testing.T, suite, module string) {
	run := os.Getenv("KTLS_RUN")
	if strings.ContainsAny(run, "\" \t\n") {
		t.Fatalf("KTLS_RUN=%q: want no quotes and no space, which a kernel's parameter cannot have", run)
	}
	path := filepath.Join(logs(), suite+"-"+module)
	for _, suffix := range []string{".log", ".console"} {
		os.Remove(path + suffix) // of an earlier run, if there was one
	}
	out := &output{began: time.Now()}
	var complaints bytes.Buffer
	cmd := exec.Command("./vm.sh", "boot", path+".console", "KTLS_MODULE="+module, "KTLS_RUN="+run, "KTLS_SEED="+os.Getenv("KTLS_SEED"), "KTLS_KILLS="+os.Getenv("KTLS_KILLS"))
	cmd.Env = append(os.Environ(), "KTLS_SUITE="+suite)
	cmd.Stdout, cmd.Stderr = out, &complaints
	ended := cmd.Run()
	if err := os.WriteFile(path+".log", out.text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	console, err := os.ReadFile(path + ".console")
	if err != nil {
		t.Fatalf("%v; the machine: %v\n%s", err, ended, &complaints)
	}
	outcome, err := ParseOutcome(out.text.String(), string(console))
	err = errors.Join(err, ended)
	if exit := new(exec.ExitError); errors.As(ended, &exit) && exit.ExitCode() == 124 {
		err = errors.New("the machine has not ended in time (KTLS_SECONDS, default: 900)")
	}
	if err != nil {
		t.Fatalf("%v\n%s-- the kernel:\n%s\n-- the tests:\n%s\n-- all is in %s", err, &complaints, tail(string(console), 20),
			tail(out.text.String(), 200), path+".{console,log}")
	}
	t.Logf("booted in %.1fs; %d passed, %d were skipped; all in %.1fs\n%s", out.first.Seconds(),
		len(outcome.Passed), len(outcome.Skipped), time.Since(out.began).Seconds(), strings.Join(outcome.Lines, "\n"))
	switch {
	case len(outcome.Passed) > 0:
	case run != "":
		t.Skip("each test was skipped")
	default:
		t.Error("each test was skipped")
	}
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// output keeps what is written, and how long after began the first of it came, which is when the
// machine has booted.
type output struct {
	began time.Time
	first time.Duration
	text  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	if o.text.Len() == 0 {
		o.first = time.Since(o.began)
	}
	return o.text.Write(b)
}
