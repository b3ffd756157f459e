package server_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// hosts are two network namespaces with a link between them: the server's end of it is 10.99.0.1,
// the clients' 10.99.0.2.
type hosts struct {
	t                *testing.T
	server, clients  string // their names
	serverIP, client string
}

var hostsMade atomic.Int64

func twoHosts(t *testing.T) *hosts {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Getuid() != 0 {
		servertest.Lacks(t, "network namespaces", "run as root, with iproute2")
	}
	name := fmt.Sprintf("tcpmux-%d-%d", os.Getpid(), hostsMade.Add(1))
	h := &hosts{t: t, server: name + "s", clients: name + "c", serverIP: "10.99.0.1", client: "10.99.0.2"}
	t.Cleanup(func() {
		_ = exec.Command("ip", "netns", "del", h.server).Run() // it may not have been made
		_ = exec.Command("ip", "netns", "del", h.clients).Run()
	})
	h.ip("netns add " + h.server)
	h.ip("netns add " + h.clients)
	h.ip("link add eth0 netns " + h.server + " type veth peer name eth0 netns " + h.clients)
	for ns, ip := range map[string]string{h.server: h.serverIP, h.clients: h.client} {
		h.ip("-n " + ns + " addr add " + ip + "/24 dev eth0")
		h.ip("-n " + ns + " link set eth0 up")
		h.ip("-n " + ns + " link set lo up")
	}
	return h
}

func (h *hosts) ip(args string) {
	h.t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		servertest.Lacks(h.t, fmt.Sprintf("ip %s: %v: %s", args, err, out), "allow network namespaces")
	}
}

// on calls do on one of the hosts: sockets that it makes belong there.
func (h *hosts) on(name string, do func()) {
	h.t.Helper()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		h.t.Fatal(err)
	}
	defer here.Close()
	there, err := os.Open("/run/netns/" + name)
	if err != nil {
		h.t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		h.t.Fatal(err)
	}
	do()
	if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
		h.t.Fatal(err) // the thread ends with the goroutine
	}
	runtime.UnlockOSThread()
}

// TestAVanishedClientIsLost: with nothing to send, and in the middle of a message.
func TestAVanishedClientIsLost(t *testing.T) {
	t.Parallel()
	h := twoHosts(t)
	var f *servertest.Fixture
	h.on(h.server, func() {
		f = servertest.New(t, func(cfg *config.Config) {
			cfg.Listeners[0].Address = []string{h.serverIP + ":0"}
			cfg.Listeners[0].LostTimeout = 10 * time.Second
		})
	})
	f.Open()
	var silent, half *servertest.Client
	h.on(h.clients, func() { silent, half = f.Greeted(), f.Greeted() })
	half.Say("one\nhalf")
	f.AwaitRecords(": one\n")
	began := time.Now()
	h.ip("-n " + h.clients + " link set eth0 down")
	f.AwaitRecords(
		silent.Addr()+": lost, 0 records, 0 bytes\n",
		half.Addr()+" [eof]: half\n", half.Addr()+": lost, 2 records, 8 bytes\n")
	t.Logf("lost after %v", time.Since(began))
	f.AwaitClients(0)
}

// TestNothingStaysInCloseWait: the server closes when its client has closed.
func TestNothingStaysInCloseWait(t *testing.T) {
	f := servertest.New(t, nil).Open()
	for i, said := range []string{"", "one\n", "half", strings.Repeat("x", 48<<10)} {
		c := f.Greeted()
		c.Say(said)
		_ = c.CloseWrite()
		if rest := c.HearEnd(); rest != "" {
			t.Errorf("client %d heard %q, want nothing", i, rest)
		}
	}
	f.AwaitClients(0)
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", f.Addr().Port())) && fields[3] == "08" {
			t.Errorf("got %q, want no socket of ours in CLOSE_WAIT", line)
		}
	}
}
