//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// banner is that of the shipped configuration.
const banner = "Welcome connect!\r\n"

// talker is a client that sends numbered lines, "NAME 1", "NAME 2", and counts them. One goroutine
// uses it at a time.
type talker struct {
	name string
	conn *net.TCPConn
	said int
	torn bool // the connection was reset: the last lines may be missing
}

// dial connects and sends nothing. At the end of the test the record file is compared with what the
// talker has sent.
func (r *rig) dial(addr string) (*talker, error) {
	conn, err := r.net.dial(addr)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &talker{name: fmt.Sprintf("c%d", len(r.talkers)), conn: conn}
	r.talkers = append(r.talkers, k)
	return k, nil
}

// call connects and waits for the banner.
func (r *rig) call(addr, banner string) (*talker, error) {
	k, err := r.dial(addr)
	if err != nil {
		return nil, err
	}
	return k, k.greeted(banner)
}

// mustCall is call for the port, which must send the shipped banner.
func (r *rig) mustCall() *talker {
	r.t.Helper()
	k, err := r.call(port, banner)
	if err != nil {
		r.t.Fatal(err)
	}
	return k
}

// greeted waits for the banner.
func (k *talker) greeted(want string) error {
	got := make([]byte, len(want))
	if n, err := io.ReadFull(k.conn, got); err != nil {
		return fmt.Errorf("%s: banner: got %q, %w", k.name, got[:n], err)
	}
	if string(got) != want {
		return fmt.Errorf("%s: banner: got %q, want %q", k.name, got, want)
	}
	return nil
}

// greetedSomehow waits for any line.
func (k *talker) greetedSomehow() error {
	for b := make([]byte, 1); b[0] != '\n'; {
		if _, err := k.conn.Read(b); err != nil {
			return fmt.Errorf("%s: banner: %w", k.name, err)
		}
	}
	return nil
}

// say sends the next n lines in one write. If that fails, none of them counts as sent.
func (k *talker) say(n int) error {
	var lines bytes.Buffer
	for i := range n {
		fmt.Fprintf(&lines, "%s %d\n", k.name, k.said+i+1)
	}
	if _, err := k.conn.Write(lines.Bytes()); err != nil {
		return err
	}
	k.said += n
	return nil
}

// bye shuts the connection down and waits until the daemon closes it, which it does when everything
// is recorded.
func (k *talker) bye() error {
	defer k.conn.Close()
	if err := k.conn.CloseWrite(); err != nil {
		return err
	}
	rest, err := io.ReadAll(k.conn)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%s: got %q, want no more", k.name, rest)
	}
	return err
}

// tear closes a connection at once, or gives up a broken one: the daemon may not have read all that
// was sent.
func (k *talker) tear() {
	k.torn = true
	_ = k.conn.Close() // broken in any case
}

// visit connects to a port, sends three lines and leaves.
func (r *rig) visit(addr, banner string) error {
	k, err := r.call(addr, banner)
	if err != nil {
		return err
	}
	return errors.Join(k.say(3), k.bye())
}

// mustVisit is visit for the port, which must send the shipped banner.
func (r *rig) mustVisit() {
	r.t.Helper()
	if err := r.visit(port, banner); err != nil {
		r.t.Fatal(err)
	}
}

// crowd is clients that repeat something until they are dismissed.
type crowd struct {
	wg      sync.WaitGroup
	over    chan struct{}
	rounds  atomic.Int64
	mu      sync.Mutex
	trouble []error
}

// gather has size clients repeat something. A client that meets an error stops.
func gather(size int, do func() error) *crowd {
	c := &crowd{over: make(chan struct{})}
	for range size {
		c.wg.Go(func() { c.repeat(do) })
	}
	return c
}

func (c *crowd) repeat(do func() error) {
	for {
		select {
		case <-c.over:
			return
		default:
		}
		if err := do(); err != nil {
			c.mu.Lock()
			c.trouble = append(c.trouble, err)
			c.mu.Unlock()
			return
		}
		c.rounds.Add(1)
	}
}

// dismiss ends the clients and returns their errors.
func (c *crowd) dismiss() error {
	close(c.over)
	c.wg.Wait()
	if c.rounds.Load() == 0 {
		c.trouble = append(c.trouble, errors.New("nobody got through"))
	}
	return errors.Join(c.trouble...)
}

// newcomers returns clients that visit the port all the time.
func (r *rig) newcomers() *crowd {
	return gather(4, func() error { return r.visit(port, banner) })
}

// chatters are talkers that send a line every few milliseconds, until they are dismissed or the
// daemon tells them that it ends; then they close their connections in good order.
type chatters struct {
	wg      sync.WaitGroup
	over    chan struct{}
	mu      sync.Mutex
	trouble []error
	left    int // how many ended because the daemon did
}

func (r *rig) chatters(n int) *chatters {
	r.t.Helper()
	return r.chattersAt(port, n)
}

func (r *rig) chattersAt(addr string, n int) *chatters {
	r.t.Helper()
	c := &chatters{over: make(chan struct{})}
	var all []*talker
	for range n {
		k, err := r.call(addr, banner)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, k)
	}
	r.awaitStarted()
	for _, k := range all {
		c.wg.Go(func() { c.chat(k) })
	}
	return c
}

func (c *chatters) chat(k *talker) {
	ended := make(chan error, 1)
	go func() { ended <- k.hear() }()
	err := k.chat(c.over, ended)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, errLeft):
		c.left++
	case err != nil:
		c.trouble = append(c.trouble, fmt.Errorf("%s: %w", k.name, err))
	}
}

// errLeft reports that the daemon has told the client that it ends.
var errLeft = errors.New("the daemon ended it")

// hear waits until the daemon sends no more.
func (k *talker) hear() error {
	heard, err := io.ReadAll(k.conn)
	if err == nil && len(heard) > 0 {
		err = fmt.Errorf("got %q, want nothing", heard)
	}
	return err
}

// chat sends line after line until over or ended, and leaves.
func (k *talker) chat(over <-chan struct{}, ended chan error) error {
	defer k.conn.Close()
	for {
		select {
		case <-over:
			return errors.Join(k.conn.CloseWrite(), <-ended)
		case err := <-ended:
			if err == nil {
				err = errors.Join(k.conn.CloseWrite(), errLeft)
			}
			return err
		case <-time.After(3 * time.Millisecond):
			if err := k.say(1); err != nil {
				return err
			}
		}
	}
}

// dismiss ends the talkers, and returns how many the daemon has ended and the errors of all.
func (c *chatters) dismiss() (left int, err error) {
	close(c.over)
	c.wg.Wait()
	return c.left, errors.Join(c.trouble...)
}

// number returns the number in a line of the talker with that name; 0 if it is another talker's.
func number(line, name string) (n int) {
	if rest, ok := strings.CutPrefix(line, name+" "); ok {
		_, _ = fmt.Sscan(rest, &n) // 0 if there is none
	}
	return n
}
