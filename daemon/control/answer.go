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

// WriteJSON answers with a value as one line of JSON.
func WriteJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error is one of the connection.
	_ = json.NewEncoder(w).Encode(value)
}

// WriteText answers with text.
func WriteText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // an error is one of the connection
}

// Why a Daemon has not answered.
const (
	noAnswer = "the daemon does not answer: it is starting or ending, or hangs"
	// halfClosed is for one who still reads, and gets the answer.
	halfClosed = "the connection was closed for writing before the answer: keep it open until then"
)

// answer answers with a value, or with an error and its status.
func (s *Server) answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		s.failWith(w, err)
		return
	}
	WriteJSON(w, http.StatusOK, value)
}

// failWith answers with an error and its status.
func (s *Server) failWith(w http.ResponseWriter, err error) {
	var mistake *badRequest
	switch {
	case errors.As(err, &mistake):
		fail(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, ErrNotFound):
		fail(w, http.StatusNotFound, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		fail(w, http.StatusServiceUnavailable, noAnswer)
	case errors.Is(err, context.Canceled):
		fail(w, http.StatusServiceUnavailable, halfClosed)
	case errors.Is(err, ErrUnavailable):
		fail(w, http.StatusServiceUnavailable, err.Error())
	default:
		fail(w, http.StatusInternalServerError, err.Error())
	}
}

// errBusy reports that more calls of the Daemon hang, or are under way, than there is room for.
var errBusy = fmt.Errorf("%w: too many requests are under way", ErrUnavailable)

// ask calls f, and returns its result or the error of a context that is done after limit: then f is
// still under way, and counted. A panic of f is one of ask.
func ask[T any](s *Server, ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (value T, err error) {
	select {
	case s.calls <- struct{}{}:
	default:
		return value, errBusy
	}
	type result struct {
		value    T
		err      error
		panicked any
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			r.panicked = recover()
			<-s.calls
			done <- r
			cancel()
		}()
		r.value, r.err = f(ctx)
	}()
	<-ctx.Done()
	select {
	case r := <-done:
		if r.panicked != nil {
			panic(r.panicked)
		}
		return r.value, r.err
	default:
		return value, ctx.Err()
	}
}

// writeSessions answers with sessions, one after another, so that a slow reader costs the list and
// no copy of it.
func writeSessions(w http.ResponseWriter, all api.Sessions) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	b.WriteString(`{"sessions":[`)
	for i := range all.Sessions {
		if i > 0 {
			b.WriteByte(',')
		}
		if enc.Encode(&all.Sessions[i]) != nil {
			panic(http.ErrAbortHandler) // a time beyond year 9999
		}
		b.Truncate(b.Len() - 1) // the newline
		if b.Len() < 16<<10 {
			continue
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return // the reader is gone
		}
		b.Reset()
	}
	fmt.Fprintf(&b, "],\"total\":%d}\n", all.Total)
	_, _ = w.Write(b.Bytes()) // an error is one of the connection
}
