package control

import (
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
		// The request's context ends with the request, also if nobody waits for sub any more.
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
	enc := json.NewEncoder(w)
	write := func(rec *api.Record) error {
		return errors.Join(
			out.SetWriteDeadline(time.Now().Add(s.limits.tailWrite)),
			enc.Encode(rec),
			out.Flush())
	}
	err := out.Flush()
	for err == nil {
		rec, nextErr := sub.Next(ctx)
		if nextErr != nil {
			break
		}
		err = write(&rec)
	}
	if err == nil && context.Cause(ctx) == errLeft {
		_ = write(&api.Record{Time: time.Now(), Kind: api.KindRestart}) // an error is one of the connection
	}
}
