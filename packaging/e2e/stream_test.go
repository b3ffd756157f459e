//go:build e2e

package e2e

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Where Debian's nats-server listens, and what it is configured with. Its state is kept over a
// restart, which that of the package is not.
const (
	natsURL  = "nats://127.0.0.1:4222"
	natsConf = "host: 127.0.0.1\nport: 4222\njetstream { store_dir: /srv/nats, max_memory_store: 64M, max_file_store: 20G }\n"
	stream   = "TCPMUX"
)

// startNATS starts the machine's server, with further lines of configuration.
func (r *rig) startNATS(lines string) {
	r.t.Helper()
	r.run("install", "-d", "-o", "nats", "/srv/nats")
	r.write("/etc/nats-server.conf", natsConf+lines)
	r.run("systemctl", "start", "nats-server")
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(_, address string) (net.Conn, error) {
	conn, err := d.dialFrom(nil, address)
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	return conn, err
}

// withStream calls do with the stream, if the server has it.
func (r *rig) withStream(do func(context.Context, jetstream.Stream) error, opts ...nats.Option) error {
	nc, err := nats.Connect(natsURL, append(opts, nats.SetCustomDialer(r.net), nats.NoReconnect())...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	return do(ctx, s)
}

// stored returns how many messages the stream has; 0 if it cannot be asked.
func (r *rig) stored(opts ...nats.Option) (n int) {
	_ = r.withStream(func(_ context.Context, s jetstream.Stream) error {
		n = int(s.CachedInfo().State.Msgs)
		return nil
	}, opts...)
	return n
}

// streamed is what the stream has of one listener: a line for each message, in their order.
type streamed map[string]*strings.Builder

// lines returns the lines of a listener.
func (s streamed) lines(listener string) string {
	if s[listener] == nil {
		return ""
	}
	return s[listener].String()
}

// readStream returns all messages of the stream, by listeners, which are the third token of their
// subjects.
func (r *rig) readStream(opts ...nats.Option) streamed {
	r.t.Helper()
	all := make(streamed)
	err := r.withStream(func(ctx context.Context, s jetstream.Stream) error {
		last := s.CachedInfo().State.LastSeq
		if last == 0 {
			return nil
		}
		consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
		if err != nil {
			return err
		}
		messages, err := consumer.Messages()
		if err != nil {
			return err
		}
		defer messages.Stop()
		for {
			m, err := messages.Next(jetstream.NextContext(ctx))
			if err != nil {
				return err
			}
			listener := strings.Split(m.Subject(), ".")[2]
			if all[listener] == nil {
				all[listener] = &strings.Builder{}
			}
			all[listener].Write(m.Data())
			all[listener].WriteByte('\n')
			if meta, err := m.Metadata(); err != nil || meta.Sequence.Stream >= last {
				return err
			}
		}
	}, opts...)
	if err != nil {
		r.t.Fatalf("read stream %s: %v", stream, err)
	}
	return all
}
