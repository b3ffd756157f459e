package relay_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// trialsVariable is how many connections TestRandomConnections makes of each kind; TRIALS=10000 is
// the long form.
const trialsVariable = "TRIALS"

// usualTrials is enough to notice what is broken plainly, and few enough for the race detector.
const usualTrials = 80

// atOnce is how many connections there are at the same time.
const atOnce = 16

// slowBytes bounds what is sent to somebody with a small receive buffer.
const slowBytes = 40_000

// side is what one end of a connection does, of which a random source decides.
type side struct {
	bytes  int // that it sends
	seed   uint64
	waits  bool // it ends its stream once that of the other side has ended
	resets int  // it breaks the connection off after so many bytes; -1: it does not
	slow   bool // it has a small receive buffer
}

// plan is what both ends of a connection do.
type plan struct{ client, server side }

// planOf returns that of the connection with a number: the same each time.
func planOf(number uint64) plan {
	random := rand.New(rand.NewPCG(number, 17))
	one := func() side {
		s := side{seed: random.Uint64(), resets: -1, slow: random.IntN(8) == 0}
		switch random.IntN(4) {
		case 0:
		case 1:
			s.bytes = random.IntN(200)
		case 2:
			s.bytes = random.IntN(20_000)
		default:
			s.bytes = random.IntN(600_000)
		}
		return s
	}
	p := plan{one(), one()}
	// A window of few KiB is slow: the kernel waits before it tells that there is room again.
	if p.client.slow {
		p.server.bytes = min(p.server.bytes, slowBytes)
	}
	if p.server.slow {
		p.client.bytes = min(p.client.bytes, slowBytes)
	}
	switch random.IntN(6) {
	case 0:
		p.client.waits = true
	case 1:
		p.server.waits = true
	case 2:
		p.client.resets = random.IntN(p.client.bytes + 1)
	case 3:
		p.server.resets = random.IntN(p.server.bytes + 1)
	}
	return p
}

// stream returns what a side sends.
func (s *side) stream() []byte {
	b := make([]byte, s.bytes)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], s.seed)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// ending is how a side has seen its connection end.
type ending struct {
	got   []byte
	err   error // of reading; nil: the end of the stream
	wrote error
}

// broken reports whether it has seen a reset.
func (e *ending) broken() bool {
	for _, err := range []error{e.err, e.wrote} {
		if errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
			return true
		}
	}
	return false
}

// act does what a side does.
func (s *side) act(c *net.TCPConn) *ending {
	if s.slow {
		_ = c.SetReadBuffer(4 << 10)
	}
	e := &ending{}
	random := rand.New(rand.NewPCG(s.seed, 1))
	ended := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		defer close(ended)
		e.got, e.err = read(c, rand.New(rand.NewPCG(s.seed, 2)))
	})
	both.Go(func() {
		left := s.stream()
		if s.resets >= 0 {
			left = left[:s.resets]
		}
		for len(left) > 0 && e.wrote == nil {
			n := min(1+random.IntN(1<<random.IntN(18)), len(left))
			_, e.wrote = c.Write(left[:n])
			left = left[n:]
		}
		switch {
		case s.resets >= 0:
			_ = c.SetLinger(0)
			_ = c.Close()
			return
		case s.waits:
			<-ended
		}
		_ = c.CloseWrite()
	})
	both.Wait()
	_ = c.Close()
	return e
}

// read reads to the end in pieces of random sizes.
func read(c net.Conn, random *rand.Rand) ([]byte, error) {
	var all bytes.Buffer
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf[:1+random.IntN(len(buf))])
		all.Write(buf[:n])
		if err == io.EOF {
			return all.Bytes(), nil
		}
		if err != nil {
			return all.Bytes(), err
		}
	}
}

// check returns what is wrong with how a connection has ended.
func (p *plan) check(client, server *ending) error {
	for _, way := range []struct {
		name     string
		from, to *side
		at, back *ending // where it has come to, and where it has come from
	}{{"to the upstream", &p.client, &p.server, server, client}, {"to the client", &p.server, &p.client, client, server}} {
		want := way.from.stream()
		reset := way.from.resets >= 0 || way.to.resets >= 0
		switch {
		case way.to.resets >= 0: // it has not read to the end
		case !bytes.HasPrefix(want, way.at.got):
			return fmt.Errorf("%s: got %d bytes that are not those sent", way.name, len(way.at.got))
		case !reset && (len(way.at.got) != len(want) || way.at.err != nil || way.at.wrote != nil):
			return fmt.Errorf("%s: got %d of %d bytes, %v, %v, want all and the end", way.name, len(way.at.got), len(want), way.at.err, way.at.wrote)
		case way.from.resets >= 0 && !way.at.broken():
			return fmt.Errorf("%s: got %v, %v after %d bytes, want a reset", way.name, way.at.err, way.at.wrote, len(way.at.got))
		}
	}
	return nil
}

// upstreamOf serves the plans' server sides at ln. results has what they have seen, by number.
func upstreamOf(ln net.Listener, results *sync.Map) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			var number [8]byte
			_ = c.SetDeadline(time.Now().Add(servertest.Patience))
			if _, err := io.ReadFull(c, number[:]); err != nil {
				_ = c.Close()
				return
			}
			if _, err := c.Write(number[:]); err != nil { // nobody breaks off before that
				_ = c.Close()
				return
			}
			n := binary.BigEndian.Uint64(number[:])
			p := planOf(n)
			got, _ := results.LoadOrStore(n, make(chan *ending, 1))
			got.(chan *ending) <- p.server.act(c.(*net.TCPConn))
		}()
	}
}

// visit makes the connection with a number, and returns what is wrong with it.
func visit(f *servertest.Fixture, number uint64, results *sync.Map) error {
	p := planOf(number)
	raw, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		return err
	}
	c := raw.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(servertest.Patience))
	sent, back := binary.BigEndian.AppendUint64(nil, number), make([]byte, 8)
	if _, err := c.Write(sent); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, back); err != nil || !bytes.Equal(sent, back) {
		return fmt.Errorf("the upstream has answered %x, %v", back, err)
	}
	client := p.client.act(c)
	got, _ := results.LoadOrStore(number, make(chan *ending, 1))
	select {
	case server := <-got.(chan *ending):
		return p.check(client, server)
	case <-time.After(servertest.Patience):
		return errors.New("the upstream has not ended")
	}
}

func trials(t *testing.T) uint64 {
	if text := os.Getenv(trialsVariable); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return usualTrials
}

// TestRandomConnections: what one side sends is what the other gets, whatever the order in which
// they end, and a reset of one is a reset for the other.
func TestRandomConnections(t *testing.T) {
	for name, change := range map[string]func(*config.Listener){
		"moved by the kernel": nil,
		"recorded":            func(l *config.Listener) { l.Record, l.Framing = true, "chunk" },
	} {
		t.Run(name, func(t *testing.T) {
			ln, to := listen(t, "tcp")
			results := &sync.Map{}
			go upstreamOf(ln, results)
			f := proxy(t, []string{to}, change)
			numbers := make(chan uint64)
			var visiting sync.WaitGroup
			for range atOnce {
				visiting.Go(func() {
					for n := range numbers {
						if err := visit(f, n, results); err != nil {
							t.Errorf("connection %d, %+v: %v", n, planOf(n), err)
						}
					}
				})
			}
			for n := range trials(t) {
				numbers <- n
			}
			close(numbers)
			visiting.Wait()
			f.AwaitClients(0)
		})
	}
}
