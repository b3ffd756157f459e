//go:build ktlsguest

package guest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// halfCloser is a connection of which one direction can be closed.
type halfCloser interface {
	io.Writer
	CloseWrite() error
}

// stream is what one side sends to the other.
type stream struct {
	t      *testing.T
	what   string
	from   halfCloser
	to     io.Reader
	i      int
	seed   [32]byte
	rnd    *rand.Rand
	amount chan int      // bytes that are to be sent next
	heard  chan struct{} // closed when it is to be taken
	brief  bool          // it ends with the first restart
	deaf   bool          // it is taken at the end
	over   bool
	sent   int64
	taken  int64
}

func (p *proxying) stream(c *proxied, from halfCloser, to io.Reader, i int) *stream {
	s := &stream{t: p.t, what: fmt.Sprintf("stream %d of %s", i, c.remote), from: from, to: to, i: i,
		rnd: rand.New(rand.NewPCG(p.seed, uint64(i))), amount: make(chan int, proxiedRestarts+1), heard: make(chan struct{}),
		brief: i%8 == 2 || i%8 == 5, deaf: i%8 == 7 || i%8 == 0}
	s.seed[0] = byte(i)
	if !s.deaf {
		close(s.heard)
	}
	return s
}

// grant has some more be sent, before a restart.
func (s *stream) grant(restart int) {
	if s.brief && restart > 0 {
		s.end()
		return
	}
	s.amount <- 1 + s.rnd.IntN(1+s.rnd.IntN(200_000))
}

// end has the stream end behind what was granted.
func (s *stream) end() {
	if s.over {
		return
	}
	s.over = true
	close(s.amount)
	if s.deaf {
		close(s.heard)
	}
}

func (s *stream) send() { s.sendAll(true) }

func (s *stream) sendAll(end bool) {
	from := letters(s.seed)
	for n := range s.amount {
		got, err := io.CopyN(s.from, from, int64(n))
		if s.sent += got; err != nil {
			s.t.Errorf("%s: sent %d bytes: %v", s.what, s.sent, err)
			return
		}
	}
	if !end {
		return
	}
	if err := s.from.CloseWrite(); err != nil {
		s.t.Errorf("%s: the end behind %d bytes: %v", s.what, s.sent, err)
	}
}

// take takes all up to the end.
func (s *stream) take() { s.takeAll(-1) }

// takeAll takes n bytes, or all up to the end if it is negative, and compares them with what is
// sent.
func (s *stream) takeAll(n int64) {
	<-s.heard
	want, from := letters(s.seed), s.to
	if n >= 0 {
		from = io.LimitReader(from, n)
	}
	got, due := make([]byte, 16<<10), make([]byte, 16<<10)
	for {
		n, err := from.Read(got)
		_, _ = io.ReadFull(want, due[:n])
		if !bytes.Equal(got[:n], due[:n]) {
			s.t.Errorf("%s: got other bytes than were sent, between %d and %d", s.what, s.taken, s.taken+int64(n))
			return
		}
		s.taken += int64(n)
		if err == io.EOF {
			return
		}
		if err != nil {
			s.t.Errorf("%s: got %d bytes, and %v", s.what, s.taken, err)
			return
		}
	}
}

// letters returns an endless stream of them.
func letters(seed [32]byte) io.Reader { return &letterReader{rand.NewChaCha8(seed)} }

type letterReader struct{ from *rand.ChaCha8 }

// Read implements io.Reader.
func (r *letterReader) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	for i := range b[:n] {
		b[i] = 'a' + b[i]%26
	}
	return n, err
}
