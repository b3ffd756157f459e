package signals

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/internal/await"
)

// leaverVariable has the test program be replaced by the program that it names.
const leaverVariable = "SIGNALS_TEST_LEAVER"

func TestMain(m *testing.M) {
	if next := os.Getenv(leaverVariable); next != "" {
		os.Exit(become(strings.Fields(next)))
	}
	os.Exit(m.Run())
}

// become has a program take our place.
func become(next []string) int {
	fmt.Fprintln(os.Stderr, Exec(next[0], next, nil, make(chan os.Signal)))
	return 1
}

// TestASignalOnTheWayWaitsForTheNextProgram: it is pending in the thread that calls execve(2),
// whichever thread the kernel chose for it; when there is no next program after all, it is had as
// before.
func TestASignalOnTheWayWaitsForTheNextProgram(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		heard := make(chan os.Signal, 1)
		signal.Notify(heard, s)
		back, err := leave()
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		status := fmt.Sprintf("/proc/self/task/%d/status", unix.Gettid())
		await.Until(t, func() bool { return signalSet(t, status, "SigPnd")&(1<<(s-1)) != 0 },
			func() { t.Errorf("%v is not pending", s) })
		if len(heard) > 0 {
			t.Errorf("%v was notified, want it kept for the next program", s)
		}
		back()
		if got := <-heard; got != s {
			t.Errorf("got %v, want %v", got, s)
		}
		signal.Stop(heard)
	}
}

// signalSet is a set of signals of a thread (proc(5)): 1<<(s-1) for each.
func signalSet(t *testing.T, status, field string) uint64 {
	t.Helper()
	text, err := os.ReadFile(status)
	if err != nil {
		t.Fatal(err)
	}
	return setIn(t, string(text), field)
}

func setIn(t *testing.T, status, field string) uint64 {
	t.Helper()
	_, rest, _ := strings.Cut(status, field+":\t")
	value, _, _ := strings.Cut(rest, "\n")
	set, err := strconv.ParseUint(value, 16, 64)
	if err != nil {
		t.Fatalf("%s: %v in %s", field, err, status)
	}
	return set
}

// TestExecHeedsWhatCameBefore: then the caller goes on, as it has a signal to obey.
func TestExecHeedsWhatCameBefore(t *testing.T) {
	heard, came := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGTERM)
	defer signal.Stop(heard)
	signal.Notify(came, syscall.SIGTERM)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-heard
	if err := Exec("/bin/false", []string{"false"}, nil, came); !errors.Is(err, ErrCame) {
		t.Errorf("got %v, want %v", err, ErrCame)
	}
}

// TestWhatTheNextProgramIsLeft: what it cannot lose is blocked, and what it need not hear is
// ignored.
func TestWhatTheNextProgramIsLeft(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), leaverVariable+"=/bin/cat /proc/self/status")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		field   string
		signals []syscall.Signal
	}{
		{"SigBlk", []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}},
		{"SigIgn", []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}},
	} {
		got := setIn(t, string(text), c.field)
		for _, s := range c.signals {
			if got&(1<<(s-1)) == 0 {
				t.Errorf("%s: got %x, want %v in it", c.field, got, s)
			}
		}
	}
}

// TestExecThatFailsChangesNothing: signals are had as before.
func TestExecThatFailsChangesNothing(t *testing.T) {
	all := []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}
	heard := make(chan os.Signal, len(all))
	for _, s := range all {
		signal.Notify(heard, s)
	}
	defer signal.Stop(heard)
	came := make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGINT, syscall.SIGTERM)
	if err := Exec("/none", []string{"none"}, nil, came); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v, want %v", err, syscall.ENOENT)
	}
	for _, s := range all {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != s {
			t.Errorf("got %v, want %v", got, s)
		}
	}
}
