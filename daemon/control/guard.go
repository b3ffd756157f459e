package control

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"tcpmux/daemon/control/api"
)

// guard has h serve a request with the limits that hold for all, and answers what h panics on.
func (s *Server) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := connectionOf(r)
		status := &statusWriter{ResponseWriter: w}
		defer s.logRequest(conn, r, status)
		defer s.recoverPanic(r, status)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if s.admit(conn, status, r) {
			h.ServeHTTP(status, r)
		}
	})
}

// admit reports whether a request is served, or answers why it is not.
func (s *Server) admit(conn *connection, w http.ResponseWriter, r *http.Request) bool {
	if conn.conn.overflowed() {
		w.Header().Set("Connection", "close")
		if conn.class != changer { // the administrator is never shut out
			fail(w, http.StatusServiceUnavailable, "too many connections: try again, or close some")
			return false
		}
		conn.conn.stay()
	}
	if len(r.RequestURI) > maxTarget {
		fail(w, http.StatusRequestURITooLong, fmt.Sprintf("path and query have %d bytes, want at most %d", len(r.RequestURI), maxTarget))
		return false
	}
	if r.ContentLength > maxBody {
		w.Header().Set("Connection", "close")
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has %d bytes, want none", r.ContentLength))
		return false
	}
	// A body that nobody needs is read, so that the connection can be used again.
	if n, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxBody+1)); err != nil || n > maxBody {
		w.Header().Set("Connection", "close")
		if err != nil {
			fail(w, http.StatusBadRequest, "the body could not be read")
			return false
		}
		fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes, want none", maxBody))
		return false
	}
	// The limit was for the request. Nothing more is read before the answer, and one who goes
	// meanwhile still ends the request's context.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // an error is one of the connection
	return true
}

// recoverPanic keeps a bug of a handler from being more than a failed request.
func (s *Server) recoverPanic(r *http.Request, w *statusWriter) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.opt.Log.Error("control request failed: a bug, please report it",
		"path", clip(r.URL.Path), "panic", clip(fmt.Sprint(p)), "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // half an answer is not taken for a whole one
	}
	fail(w, http.StatusInternalServerError, "a bug of tcpmux: see its log")
}

func (s *Server) logRequest(conn *connection, r *http.Request, w *statusWriter) {
	s.opt.Log.Debug("control request", "method", clip(r.Method), "path", clip(r.URL.Path),
		"status", w.status, "uid", conn.peer.UID, "pid", conn.peer.PID)
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader sends the status.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// fail answers with an error.
func fail(w http.ResponseWriter, status int, text string) {
	WriteJSON(w, status, api.Error{Error: text})
}

// rebindingGuard answers requests for a name that is not the machine's own: a page of somebody else
// whose name leads to this address would be a page of the same origin (DNS rebinding). It also sets
// what keeps the status page from being framed or from loading anything.
func rebindingGuard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "+
			"connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !ownHost(r.Host) {
			fail(w, http.StatusMisdirectedRequest, "the Host is neither an IP address nor localhost: ask by the address")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ownHost reports whether a Host header names no name of the DNS: an IP address or localhost, with
// a port or without. A client of HTTP/1.0 names none; no browser is such a client.
func ownHost(host string) bool {
	if host == "" {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
	return err == nil
}
