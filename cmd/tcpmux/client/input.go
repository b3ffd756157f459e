package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// input is what is to be sent. Waiting is separate from reading, so that nothing is taken that can
// no longer be sent.
type input interface {
	// Wait blocks until Ready.
	Wait() error
	// Ready reports whether Read would return at once, also with io.EOF.
	Ready() bool
	io.Reader
}

// file is the input of a pipe: a pipe, a regular file, a terminal, anything that poll(2) takes.
type file struct {
	f  *os.File
	fd int32
}

func newFile(f *os.File) *file { return &file{f: f, fd: int32(f.Fd())} }

// Read reads the file. An error other than io.EOF names standard input.
func (f *file) Read(p []byte) (int, error) {
	n, err := f.f.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read standard input: %w", cause(err))
	}
	return n, err
}

// Wait waits in poll(2), and returns its error.
func (f *file) Wait() error {
	if _, err := f.poll(-1); err != nil {
		return fmt.Errorf("wait for standard input: %w", err)
	}
	return nil
}

// Ready asks poll(2). After an error it returns false, and Wait returns the error.
func (f *file) Ready() bool {
	n, err := f.poll(0)
	return err == nil && n > 0
}

// poll waits for at most timeout milliseconds, or without a limit if that is negative.
func (f *file) poll(timeout int) (int, error) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: f.fd, Events: unix.POLLIN}}, timeout)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// lines is the input of a terminal: what was typed and not sent yet. It is unbounded, because a
// person is slow, and must be able to type Ctrl-C even if the server does not read. It is safe for
// concurrent use.
type lines struct {
	mu      sync.Mutex
	changed *sync.Cond
	text    []byte
	ended   bool
}

func newLines() *lines {
	l := &lines{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// add queues text, which is sent unchanged.
func (l *lines) add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, text...)
	l.changed.Broadcast()
}

// end marks the end of the input.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.changed.Broadcast()
}

// Wait waits for add or end. It never fails.
func (l *lines) Wait() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.text) == 0 && !l.ended {
		l.changed.Wait()
	}
	return nil
}

// Ready reports whether something is queued, or the input has ended.
func (l *lines) Ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.text) > 0 || l.ended
}

// Read takes from the front of the queue. Call it when Ready; it returns io.EOF only after end.
func (l *lines) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := copy(p, l.text)
	l.text = l.text[n:]
	if n == 0 && l.ended {
		return 0, io.EOF
	}
	return n, nil
}
