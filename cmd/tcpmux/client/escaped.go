package client

import "io"

// Escaped is a writer to a terminal that shows all bytes in a form that cannot harm the terminal,
// as the interactive client shows what a server says. It is not safe for concurrent use.
type Escaped struct {
	out     io.Writer
	escaper escaper
}

// NewEscaped returns a writer to the terminal out.
func NewEscaped(out io.Writer) *Escaped { return &Escaped{out: out} }

// Write shows p, except for an end that the next bytes may complete, which is held back. After an
// error none of p counts as written.
func (e *Escaped) Write(p []byte) (int, error) {
	if _, err := e.out.Write(e.escaper.next(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush shows what was held back.
func (e *Escaped) Flush() error {
	_, err := e.out.Write(e.escaper.flush())
	return err
}
