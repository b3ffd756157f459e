package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hosts are two network namespaces with a link between them. The server's end has 10.99.0.1, the
// clients' 10.99.0.2 and 10.99.0.3.
type hosts struct{ server, clients string }

func twoHosts(t *testing.T) hosts {
	t.Helper()
	if os.Getuid() != 0 {
		lacks(t, "network namespaces", "run as root")
	}
	h := hosts{fmt.Sprintf("tcpmux-%d-s", os.Getpid()), fmt.Sprintf("tcpmux-%d-c", os.Getpid())}
	t.Cleanup(func() {
		for _, ns := range []string{h.server, h.clients} {
			// It may not have been made.
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	for _, args := range []string{
		"netns add " + h.server, "netns add " + h.clients,
		"link add eth0 netns " + h.server + " type veth peer name eth0 netns " + h.clients,
		"-n " + h.server + " addr add 10.99.0.1/24 dev eth0", "-n " + h.server + " link set eth0 up",
		"-n " + h.clients + " addr add 10.99.0.2/24 dev eth0", "-n " + h.clients + " addr add 10.99.0.3/24 dev eth0",
		"-n " + h.clients + " link set eth0 up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			lacks(t, fmt.Sprintf("ip %s: %v: %s", args, err, out), "install iproute2 and allow network namespaces")
		}
	}
	return h
}

// enter puts the calling goroutine, and the sockets that it makes from now on, on a host; its
// thread ends with it.
func enter(ns string) error {
	runtime.LockOSThread()
	there, err := os.Open("/run/netns/" + ns)
	if err != nil {
		return err
	}
	defer there.Close()
	return unix.Setns(int(there.Fd()), unix.CLONE_NEWNET)
}

// TestAFloodOfConnectsHurtsOnlyItsSource: those of another source are greeted as ever.
func TestAFloodOfConnectsHurtsOnlyItsSource(t *testing.T) {
	const bound, rounds = 50 * time.Millisecond, 3
	h := twoHosts(t)
	dir := t.TempDir()
	config := settings(t, dir, "10.99.0.1:12345", "limits.clients_per_source = 50\nlimits.rate_per_source = \"200/s\"", "")
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", h.server, built, "run", "--config", config)
	d := converse(t, cmd, cmd.StderrPipe)
	d.hear("msg=ready ")
	var slow time.Duration
	for range rounds { // a stall of the machine may spoil one
		if slow = h.floodAndGreet(t); slow < bound {
			break
		}
	}
	if slow >= bound {
		t.Errorf("greetings beside a flood: got %v at the 99th percentile, want less than %v", slow, bound)
	}
	d.stops(dir)
	refused := 0
	for line := range strings.Lines(d.seen) { // others name their last client too
		if strings.Contains(line, "clients refused") {
			refused++
			if !strings.Contains(line, "last=10.99.0.3:") {
				refused = -1
				break
			}
		}
	}
	if refused <= 0 {
		t.Errorf("log: got %s, want clients of 10.99.0.3 refused, and of no other", tail(d.seen))
	}
}

// floodAndGreet has one source connect as fast as it can while another's clients come one after
// another, and returns how long these waited for their greeting, at the 99th percentile.
func (h hosts) floodAndGreet(t *testing.T) time.Duration {
	var flooding atomic.Bool
	flooding.Store(true)
	var connects atomic.Int64
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			if err := enter(h.clients); err != nil {
				t.Error(err)
				return
			}
			for flooding.Load() {
				if conn, err := dialFrom("10.99.0.3"); err == nil {
					connects.Add(1)
					// Or there are soon no ports left.
					_ = conn.(*net.TCPConn).SetLinger(0)
					_ = conn.Close()
				}
			}
		})
	}
	var took []time.Duration
	busy.Go(func() {
		defer flooding.Store(false)
		if err := enter(h.clients); err != nil {
			t.Error(err)
			return
		}
		for range 300 {
			began := time.Now()
			conn, err := dialFrom("10.99.0.2")
			if err == nil {
				_, err = io.ReadFull(conn, make([]byte, len("Welcome connect!\r\n")))
				took = append(took, time.Since(began))
				_ = conn.Close()
			}
			if err != nil {
				t.Errorf("visit %d: %v", len(took), err)
				return
			}
			time.Sleep(6 * time.Millisecond) // the pace of a client, below its own rate
		}
	})
	busy.Wait()
	slices.Sort(took)
	if len(took) == 0 || connects.Load() < 100 {
		t.Fatalf("got %d visits beside %d connects, want many", len(took), connects.Load())
	}
	p99 := took[len(took)*99/100]
	t.Logf("%d visits beside %d connects: half greeted within %v, 99 %% within %v", len(took), connects.Load(), took[len(took)/2], p99)
	return p99
}

// dialFrom connects from an address of this host.
func dialFrom(address string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", "10.99.0.1:12345")
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		time.Sleep(time.Millisecond) // the pace of a flood that has used all ports
	}
	return conn, err
}
