package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"tcpmux/daemon/control/api"
)

// errLeft is why a tail ends before its reader does.
var errLeft = errors.New("the daemon leaves")

// tail answers with records as they are written, one a line, until the reader goes, is too slow for
// limits.tailWrite, or the daemon leaves.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) {
	f, _, err := tailParameters.filter(r)
	if err != nil {
		s.failWith(w, err)
		return
	}
	select {
	case s.tails <- struct{}{}:
		defer func() { <-s.tails }()
	default:
		s.failWith(w, fmt.Errorf("%w: %d others watch records already", ErrUnavailable, s.limits.tails))
		return
	}
	sub, err := ask(s, r.Context(), s.limits.read, func(context.Context) (Subscription, error) {
		sub := s.opt.Daemon.Tail(f)
		// The request's context ends with the request, also if nobody waits for sub any
		// more.
		context.AfterFunc(r.Context(), sub.Close)
		return sub, nil
	})
	if err != nil {
		s.failWith(w, err)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.left, func() { cancel(errLeft) })()
	s.stream(ctx, w, sub)
}

// stream writes the records of sub until ctx is done, and then, if that is because the daemon
// leaves, a record that says so.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, sub Subscription) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	write := func(lines []byte) error {
		err := out.SetWriteDeadline(time.Now().Add(s.limits.tailWrite))
		if err == nil {
			_, err = w.Write(lines)
		}
		return errors.Join(err, out.Flush())
	}
	err := out.Flush()
	for err == nil {
		rec, nextErr := sub.Next(ctx)
		if nextErr != nil {
			break
		}
		err = write(s.gather(&rec, sub))
	}
	if err == nil && context.Cause(ctx) == errLeft {
		// An error is one of the connection.
		_ = write(s.gather(&api.Record{Time: time.Now(), Kind: api.KindRestart}, nothing{}))
	}
}

// gather returns rec and what waits behind it in sub as lines, up to about tailLines bytes. Few
// tails do that at once: the others leave the processors to the clients, and their readers miss
// more.
func (s *Server) gather(rec *api.Record, sub Subscription) []byte {
	s.encoding <- struct{}{}
	defer func() { <-s.encoding }()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for {
		if enc.Encode(rec) != nil {
			panic(http.ErrAbortHandler) // a time beyond year 9999
		}
		if b.Len() >= tailLines {
			return b.Bytes()
		}
		next, err := sub.Next(atOnce)
		if err != nil {
			return b.Bytes()
		}
		rec = &next
	}
}

// atOnce is a context that is done: Next returns what waits, and does not wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// nothing is a subscription to nothing.
type nothing struct{}

// Next implements Subscription.
func (nothing) Next(ctx context.Context) (api.Record, error) { return api.Record{}, ctx.Err() }

// Close implements Subscription.
func (nothing) Close() {}
