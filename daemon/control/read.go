package control

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"

	"tcpmux/daemon/control/api"
)

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	if _, _, err := noParameters.filter(r); err != nil {
		s.failWith(w, err)
		return
	}
	status, err := ask(s, r.Context(), s.limits.read, s.opt.Daemon.Status)
	s.answer(w, status, err)
}

func (s *Server) sessions(w http.ResponseWriter, r *http.Request) {
	f, _, err := listParameters.filter(r)
	if err != nil {
		s.failWith(w, err)
		return
	}
	lists := s.lists[connectionOf(r).class]
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.read)
	defer cancel()
	if !enter(ctx, lists) {
		s.failWith(w, errBusy)
		return
	}
	defer func() { <-lists }()
	all, err := ask(s, ctx, s.limits.read, func(context.Context) (api.Sessions, error) {
		return s.opt.Daemon.Sessions(f), nil
	})
	if err != nil {
		s.failWith(w, err)
		return
	}
	writeSessions(w, all)
}

// enter takes one of places, and waits for one until ctx is done. A place that is free is taken even
// then: what the time was spent with is not that too many are under way.
func enter(ctx context.Context, places chan<- struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	id, err := nameOf(r, "id", "session")
	if err != nil {
		s.failWith(w, err)
		return
	}
	detail, err := ask(s, r.Context(), s.limits.read, func(context.Context) (api.Detail, error) {
		d, ok := s.opt.Daemon.Session(id)
		if !ok {
			return d, fmt.Errorf("session %q: %w", id, ErrNotFound)
		}
		return d, nil
	})
	s.answer(w, detail, err)
}

// nameOf returns the name in the path of a request that has no parameters.
func nameOf(r *http.Request, wildcard, what string) (string, error) {
	if _, _, err := noParameters.filter(r); err != nil {
		return "", err
	}
	name := r.PathValue(wildcard)
	return name, checkName(what, name)
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	text, err := ask(s, r.Context(), s.limits.read, func(ctx context.Context) (*bytes.Buffer, error) {
		b := new(bytes.Buffer)
		return b, s.opt.Daemon.Metrics(ctx, b)
	})
	if err != nil {
		s.failWith(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(text.Bytes()) // an error is one of the connection
}

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	_, err := ask(s, r.Context(), s.limits.read, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.opt.Daemon.Alive(ctx)
	})
	if err != nil {
		WriteText(w, http.StatusServiceUnavailable, unhealthy(err)+"\n")
		return
	}
	WriteText(w, http.StatusOK, "ok\n")
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	status, err := ask(s, r.Context(), s.limits.read, s.opt.Daemon.Status)
	switch {
	case err != nil:
		WriteText(w, http.StatusServiceUnavailable, unhealthy(err)+"\n")
	case len(status.Unready) > 0:
		WriteText(w, http.StatusServiceUnavailable, strings.Join(status.Unready, "\n")+"\n")
	default:
		WriteText(w, http.StatusOK, "ok\n")
	}
}

// unhealthy returns why the daemon is not alive, or not known to be.
func unhealthy(err error) string {
	switch err {
	case context.DeadlineExceeded:
		return noAnswer
	case context.Canceled:
		return halfClosed
	}
	return err.Error()
}
