package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// patience is how long a server may take to answer.
	patience = 10 * time.Second
	// atOnce is how many messages the server sends ahead, and aheadBytes is at least how many
	// bytes of them.
	atOnce     = 1000
	aheadBytes = 4 << 20
)

// read calls take with each message that the stream has now, in order, as long as take wants more.
// The memory that it needs does not depend on how many there are.
func read(ctx context.Context, opt options, take func(sequence uint64, session string, line []byte) (more bool, err error)) error {
	nc, err := connect(opt)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", opt.server, err)
	}
	defer nc.Close()
	js, err := jetstream.NewWithDomain(nc, opt.domain)
	if opt.domain == "" {
		js, err = jetstream.New(nc)
	}
	if err != nil {
		return err
	}
	c, last, err := consumer(ctx, js, opt)
	if err != nil {
		return fmt.Errorf("stream %q: %w", opt.stream, err)
	}
	// A message is never larger than what is asked for at once: otherwise it would not come.
	most := max(aheadBytes, 2*int(nc.MaxPayload()))
	it, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(atOnce, most))
	if err != nil {
		return fmt.Errorf("stream %q: %w", opt.stream, err)
	}
	defer it.Stop()
	for {
		if done, err := step(ctx, c, it, last, take); done || err != nil {
			return err
		}
	}
}

// connect connects once: when the connection is lost, reading ends with an error.
func connect(opt options) (*nats.Conn, error) {
	opts := []nats.Option{nats.Name("tcpmux consumer"), nats.Timeout(patience), nats.NoReconnect(), nats.CustomInboxPrefix(opt.inbox)}
	if opt.creds != "" {
		opts = append(opts, nats.UserCredentials(opt.creds))
	}
	if opt.ca != "" {
		opts = append(opts, nats.RootCAs(opt.ca))
	}
	if opt.cert != "" {
		opts = append(opts, nats.ClientCert(opt.cert, opt.key))
	}
	return nats.Connect(opt.server, opts...)
}

// consumer returns a consumer of the messages that the stream has, and the sequence of the last of
// all. An ordered consumer belongs to this program alone and leaves nothing on the server.
func consumer(ctx context.Context, js jetstream.JetStream, opt options) (jetstream.Consumer, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stream, err := js.Stream(ctx, opt.stream)
	if err != nil {
		return nil, 0, err
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if opt.subject != "" {
		cfg.FilterSubjects = []string{opt.subject}
	}
	if !opt.since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &opt.since
	}
	c, err := stream.OrderedConsumer(ctx, cfg)
	return c, stream.CachedInfo().State.LastSeq, err
}

// step reads one message. It reports whether that was the last.
func step(ctx context.Context, c jetstream.Consumer, it jetstream.MessagesContext, last uint64, take func(uint64, string, []byte) (bool, error)) (done bool, err error) {
	look, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m, err := it.Next(jetstream.NextContext(look))
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded): // there may be none left
		info, err := c.Info(ctx)
		if err != nil {
			return false, err
		}
		return info.NumPending == 0, nil
	case err != nil:
		return false, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return false, err
	}
	more, err := take(meta.Sequence.Stream, m.Headers().Get("Tcpmux-Session"), m.Data())
	return !more || meta.NumPending == 0 || meta.Sequence.Stream >= last, err
}
