package natstest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/internal/await"
)

// StartCluster starts three servers that are a cluster, and waits until it places streams with
// replicas. One cluster of 2.10 in twenty never does, whatever is restarted: its servers connect
// with each other at the same moment, and close the connections of both as duplicates.
func StartCluster(t testing.TB, version string, opt Options) []*Server {
	t.Helper()
	for attempt := 1; ; attempt++ {
		servers := startCluster(t, version, opt)
		if Places(servers[0].Connect()) {
			return servers
		}
		if attempt == 10 {
			servers[0].fail("the cluster places no stream")
		}
		for _, s := range servers {
			s.Kill()
		}
	}
}

// startCluster starts servers that are a cluster, and waits until it has a leader.
func startCluster(t testing.TB, version string, opt Options) (servers []*Server) {
	t.Helper()
	ports := freePorts(t, 3)
	var routes []string
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("%q", "nats-route://127.0.0.1:"+p))
	}
	for i, p := range ports {
		o := opt
		o.name = fmt.Sprintf("n%d", i+1)
		o.cluster = fmt.Sprintf("cluster {\n\tname: test\n\tlisten: \"127.0.0.1:%s\"\n\troutes: [%s]\n}",
			p, strings.Join(routes, ", "))
		s := create(t, version, o)
		s.start()
		servers = append(servers, s)
	}
	for _, s := range servers {
		s.ready()
	}
	nc := servers[0].Connect()
	await.Until(t, func() bool { return hasLeader(nc) }, func() { servers[0].fail("the cluster has no leader") })
	return servers
}

// Places reports whether a cluster places a stream with replicas, before long.
func Places(nc *nats.Conn) bool {
	js, err := nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		return false
	}
	const name = "probe"
	for range 100 {
		if _, err := js.AddStream(&nats.StreamConfig{Name: name, Subjects: []string{name}, Replicas: 3}); err == nil {
			return js.DeleteStream(name) == nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// freePorts returns ports that nobody listens at.
func freePorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // all at once, so that no port comes twice
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

// hasLeader reports whether JetStream of a cluster answers.
func hasLeader(nc *nats.Conn) bool {
	js, err := nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		return false
	}
	_, err = js.AccountInfo()
	return err == nil
}

// Leader returns the server that leads a stream.
func Leader(t testing.TB, servers []*Server, stream string) *Server {
	t.Helper()
	var found *Server
	nc := servers[0].Connect()
	js, err := nc.JetStream(nats.MaxWait(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, func() bool {
		info, err := js.StreamInfo(stream)
		if err != nil || info.Cluster == nil {
			return false
		}
		for _, s := range servers {
			if s.opt.name == info.Cluster.Leader {
				found = s
			}
		}
		return found != nil
	}, func() { servers[0].fail("the stream has no leader") })
	return found
}
