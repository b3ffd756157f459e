package control

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"tcpmux/daemon/control/api"
)

// changing is a request that changes something. It returns the answer, and what the log says of it.
type changing func(r *http.Request) (value any, attrs []any, err error)

// change has f answer requests of those who may change something, and logs who did what.
func (s *Server) change(f changing) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn := connectionOf(r)
		if conn.class != changer {
			fail(w, http.StatusForbidden, "want root, or the user of the daemon: others may only read")
			return
		}
		// That of the server is for what takes less time.
		limit := time.Now().Add(s.limits.change + s.limits.write)
		_ = http.NewResponseController(w).SetWriteDeadline(limit) // an error is one of the connection
		value, attrs, err := f(r)
		if err != nil && attrs != nil {
			attrs = append(attrs, "err", err)
		}
		if attrs != nil {
			s.opt.Log.Info("changed by the control socket", append(attrs, "uid", conn.peer.UID, "pid", conn.peer.PID)...)
		}
		s.answer(w, value, err)
	}
}

func (s *Server) killOne(r *http.Request) (any, []any, error) {
	id, err := nameOf(r, "id", "session")
	if err != nil {
		return nil, nil, err
	}
	n, err := s.kill(r, api.Filter{ID: id})
	if err == nil && n == 0 {
		return nil, nil, fmt.Errorf("session %q: %w", id, ErrNotFound)
	}
	return api.Killed{Killed: n}, []any{"change", "kill", "session", id, "clients", n}, err
}

func (s *Server) killMany(r *http.Request) (any, []any, error) {
	f, given, err := killParameters.filter(r)
	switch {
	case err != nil:
		return nil, nil, err
	case given.Has("all") && len(given) > 1:
		return nil, nil, bad("all=true selects every session: want it alone, or listener and source without it")
	case len(given) == 0:
		return nil, nil, bad("want listener or source, or all=true to end every session")
	case f.Listener == "" && everybody(f.Source):
		return nil, nil, bad("source is %q, which selects everybody: want all=true to end every session", f.Source)
	}
	n, err := s.kill(r, f)
	return api.Killed{Killed: n},
		[]any{"change", "kill", "listener", f.Listener, "source", f.Source, "all", given.Has("all"), "clients", n}, err
}

// everybody reports whether a source is no less than all addresses of IPv4 or IPv6.
func everybody(source string) bool {
	p, err := netip.ParsePrefix(source)
	return err == nil && (p.Bits() == 0 || p.Addr().Is4In6() && p.Bits() == 96)
}

func (s *Server) kill(r *http.Request, f api.Filter) (int, error) {
	return ask(s, r.Context(), s.limits.change, func(context.Context) (int, error) {
		return s.opt.Daemon.Kill(f), nil
	})
}

func (s *Server) drain(on bool) changing {
	change := "undrain"
	if on {
		change = "drain"
	}
	return func(r *http.Request) (any, []any, error) {
		name, err := nameOf(r, "name", "listener")
		if err != nil {
			return nil, nil, err
		}
		drained, err := ask(s, r.Context(), s.limits.change, func(ctx context.Context) (api.Drained, error) {
			return s.opt.Daemon.Drain(ctx, name, on)
		})
		if err != nil {
			return nil, nil, err
		}
		return drained, []any{"change", change, "listener", name}, nil
	}
}

func (s *Server) rotate(r *http.Request) (any, []any, error) {
	if _, _, err := noParameters.filter(r); err != nil {
		return nil, nil, err
	}
	rotated, err := ask(s, r.Context(), s.limits.change, s.opt.Daemon.Rotate)
	return rotated, []any{"change", "rotate"}, err
}

func (s *Server) reload(r *http.Request) (any, []any, error) {
	if _, _, err := noParameters.filter(r); err != nil {
		return nil, nil, err
	}
	reloaded, err := ask(s, r.Context(), s.limits.change, s.opt.Daemon.Reload)
	return reloaded, []any{"change", "reload"}, err
}
