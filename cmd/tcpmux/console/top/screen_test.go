package top

import (
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/internal/text"
)

// TestAPanicLeavesTheTerminalAsItWas, in whichever goroutine it is.
func TestAPanicLeavesTheTerminalAsItWas(t *testing.T) {
	master, slave := clitest.OpenPTY(t)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{in: slave, out: slave}
	if err := s.enter(); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if p := recover(); p != "oh" {
				t.Errorf("got %v, want the panic to go on", p)
			}
		}()
		defer s.guard()
		panic("oh")
	}()
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("got %+v (%v), want %+v", after, err, before)
	}
	want := enterScreen + clearScreen + leaveScreen
	_ = master.SetReadDeadline(time.Now().Add(clitest.Patience)) // the read shows it if there is none
	got := make([]byte, len(want))
	if _, err := io.ReadFull(master, got); err != nil || string(got) != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func TestDrawWritesWhatHasChanged(t *testing.T) {
	master, slave := clitest.OpenPTY(t)
	s := &screen{in: slave, out: slave, painter: true}
	if err := s.enter(); err != nil {
		t.Fatal(err)
	}
	defer s.leave()
	_ = master.SetReadDeadline(time.Now().Add(clitest.Patience)) // likewise
	for _, c := range []struct {
		lines []line
		want  string
	}{
		{[]line{{text: "a"}, {"b", text.Red}}, enterScreen + clearScreen + clearScreen + "\x1b[1;1H\x1b[2Ka\x1b[2;1H\x1b[2K\x1b[1;31mb\x1b[0m"},
		{[]line{{text: "a"}, {"c", text.Plain}}, "\x1b[2;1H\x1b[2Kc"},
		{[]line{{text: "c"}}, clearScreen + "\x1b[1;1H\x1b[2Kc"},
	} {
		if err := s.draw(c.lines); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(c.want))
		if _, err := io.ReadFull(master, got); err != nil || string(got) != c.want {
			t.Errorf("%v: got %q (%v), want %q", c.lines, got, err, c.want)
		}
	}
}
