//go:build ktlsguest

package guest

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// number returns that in an environment variable.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// counter counts what goroutines do.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) get() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// gate lets goroutines pass while it is open.
type gate struct {
	changed *sync.Cond
	isOpen  bool
}

func newGate() *gate { return &gate{changed: sync.NewCond(new(sync.Mutex))} }

func (g *gate) open(open bool) {
	g.changed.L.Lock()
	defer g.changed.L.Unlock()
	g.isOpen = open
	g.changed.Broadcast()
}

// pass returns while it is open.
func (g *gate) pass() {
	g.changed.L.Lock()
	defer g.changed.L.Unlock()
	for !g.isOpen {
		g.changed.Wait()
	}
}

// meet waits for a visitor, if one comes soon.
func (k *killing) meet(visitor chan struct{}) {
	select {
	case visitor <- struct{}{}:
	case <-time.After(5 * time.Second):
	}
}

// met has the test's goroutine go on that waits for this, if it does.
func met(by chan struct{}) {
	select {
	case <-by:
	default:
	}
}
