package daemon

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// greet sends the banner. It almost always fits the kernel's buffer at once; a client whose buffer it does not fit has
// bannerTimeout to read.
func (t *talk) greet() error {
	if t.settings.banner.text == "" || t.past.greeted {
		return nil
	}
	return t.say(t.settings.banner.of(t.session), t.server.bannerTimeout)
}

// say sends text: at once what fits the kernel's buffer, and the rest as the client takes it, within so long; 0: for ever.
func (t *talk) say(text []byte, within time.Duration) error {
	n, err := unix.Write(int(t.fd), text)
	switch {
	case n == len(text):
		return nil
	case err == nil || err == unix.EAGAIN || err == unix.EINTR:
		return t.saySlowly(text[max(n, 0):], within)
	}
	return os.NewSyscallError("write", err)
}

func (t *talk) saySlowly(text []byte, within time.Duration) error {
	var by time.Time // never
	if within > 0 {
		by = time.Now().Add(within)
	}
	t.setWriteDeadline(by)
	if t.overdue.Load() { // it may have come between: the server sets its deadline only once
		t.expire()
	}
	return cause(t.write(text))
}

// cause takes the operation and the name off an error of os.File, which the log line's words give better.
func cause(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}
