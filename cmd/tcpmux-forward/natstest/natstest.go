// Package natstest runs real NATS servers for tests, and reads what their streams hold.
package natstest

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// Versions returns the versions of servers that Start knows.
func Versions() []string { return []string{"2.9", "2.10", "2.15"} }

// Newest is the newest of Versions, and knows atomic batches.
const Newest = "2.15"

// Options are how a server is run. The zero value is a single server with JetStream, and without
// authentication and TLS.
type Options struct {
	// Config is appended to the configuration file: authorization, tls, max_payload …
	Config string
	// JetStream is what the block of that name has besides the store directory, such as
	// "max_file: 10M".
	JetStream string
	// Name, Cluster and Routes are for a server of a cluster; see StartCluster.
	Name, Cluster string
	Routes        []string
}

// Server is a server process. The test ends it.
type Server struct {
	// URL is where clients connect. It stays the same when the server is started again.
	URL string
	// Dir is where its files are.
	Dir string
}

// Start starts a server of a version, and waits until it can be used. If the server is not
// installed, the test fails.
func Start(t testing.TB, version string, opt Options) *Server { return nil }

// StartCluster starts three servers that are a cluster, and waits until it has a leader.
func StartCluster(t testing.TB, version string, opt Options) []*Server { return nil }

// Kill ends the server with SIGKILL, if it runs.
func (s *Server) Kill() {}

// Stop ends the server with SIGTERM, if it runs.
func (s *Server) Stop() {}

// Restart starts the server again on its port and with its store, and waits until it can be used.
// It may be called while the server runs: then it is killed.
func (s *Server) Restart() {}

// Connect returns a connection to the server, which the test closes.
func (s *Server) Connect(opts ...nats.Option) *nats.Conn { return nil }

// Message is a message of a stream.
type Message struct {
	Subject  string
	Header   nats.Header
	Data     []byte
	Sequence uint64
}

// All returns all messages of a stream, in its order.
func All(t testing.TB, nc *nats.Conn, stream string) []Message { return nil }
