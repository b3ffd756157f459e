package server_test

import (
	"cmp"
	"io"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/admission"
	"tcpmux/daemon/control/api"
	"tcpmux/daemon/listen"
	"tcpmux/daemon/record"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
	"tcpmux/daemon/sink"
)

// crowd is how many clients a benchmark has at once, both ends of which are in the process.
const crowd = 2000

// benchServer returns a server that nobody writes anything of, and a binding of it that listens.
func benchServer(b *testing.B) (*server.Server, *server.Binding) {
	b.Helper()
	cfg := servertest.Config(func(c *config.Config) {
		c.Limits.Clients, c.Listeners[0].Backlog, c.Listeners[0].Banner = 20000, 2*crowd, config.Text("")
	})
	records := sink.New(io.Discard, func(error) {})
	s := server.New(server.Options{
		SinkOf:  func(config.Listener) session.Sink { return records },
		Encoder: func() session.Encoder { return record.NewEncoder(record.Text) },
		Clients: cfg.Limits.Clients, Log: slog.New(slog.DiscardHandler),
	})
	lns, _ := listen.Open(cfg.Listeners, nil, true)
	ln, c := lns[0], cfg.Listeners[0]
	if err := cmp.Or(ln.Bind(), ln.Prepare(c.LostTimeout), ln.Listen(c.Backlog)); err != nil {
		b.Fatal(err)
	}
	binding := s.Bind(ln, c)
	binding.SetRules(admission.NewRules(nil, nil))
	s.SetLimits(cfg, []*server.Binding{binding})
	b.Cleanup(func() { _ = s.Shutdown(servertest.Done()) })
	return s, binding
}

// connectAll has n clients connect, who wait in the backlog if nobody accepts them.
func connectAll(b *testing.B, to *server.Binding, n int) (clients []int) {
	b.Helper()
	addr := to.Listener.Addr.AddrPort
	sa := &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, sa)
		}
		if err != nil {
			b.Fatal(err)
		}
		clients = append(clients, fd)
	}
	return clients
}

// gone closes clients, and waits until the server has seen it.
func gone(s *server.Server, clients []int) {
	for _, fd := range clients {
		_ = unix.Close(fd) // nothing was written
	}
	come(s, 0)
}

// come waits until the server has n clients.
func come(s *server.Server, n int) {
	for s.Clients() != n {
		time.Sleep(20 * time.Microsecond)
	}
}

// BenchmarkAccept is how fast one accept loop takes clients from the backlog: ns/client. It has them
// come once, whatever -benchtime says.
func BenchmarkAccept(b *testing.B) {
	s, binding := benchServer(b)
	clients := connectAll(b, binding, crowd)
	b.ResetTimer()
	go func() { _ = s.Serve(binding) }()
	come(s, len(clients))
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(len(clients)), "ns/client")
	gone(s, clients)
}

// BenchmarkClients is what requests cost that look at all clients: ns/client is for one of them.
func BenchmarkClients(b *testing.B) {
	s, binding := benchServer(b)
	go func() { _ = s.Serve(binding) }()
	clients := connectAll(b, binding, crowd)
	come(s, crowd)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"status", func() { s.Surviving() }},
		{"TLS", func() { s.TLSClients() }},
		{"finishing", func() { s.Finishing() }},
		{"sessions", func() { s.Sessions(api.Filter{Limit: 1}) }},
		{"reload", s.Refresh},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/crowd, "ns/client")
		})
	}
	gone(s, clients)
}
