package control

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"tcpmux/daemon/control/api"
	"tcpmux/internal/fuzzing"
)

// FuzzRequest: whatever the path and query, the answer is one of a few, an error is JSON, and what
// is refused reaches no daemon.
func FuzzRequest(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	for _, seed := range []struct{ method, path, query string }{
		{"GET", "/v1/status", ""}, {"GET", "/v1/sessions", "listener=a&source=10.0.0.0/8&idle=1&min_bytes=2&sort=-heard&limit=3"},
		{"GET", "/v1/sessions/a-1", ""}, {"DELETE", "/v1/sessions", "all=true"}, {"DELETE", "/v1/sessions/a-1", ""},
		{"POST", "/v1/listeners/tcpmux/drain", ""}, {"POST", "/v1/listeners/a%2fb/undrain", ""}, {"GET", "/v1/sessions/..", ""},
		{"GET", "//v1/status", ""}, {"GET", "/v1/sessions/\xff", "a=%zz"}, {"CONNECT", "*", ""}, {"GET", "/v1/sessions", "source=::ffff:10.0.0.0/104"},
		{"PUT", "/v1/../metrics", "\x00"}, {"GET", "/v1/sessions", "idle=1e400&limit=99999999999999999999"}, {"OPTIONS", "*", ""},
	} {
		f.Add(seed.method, seed.path, seed.query)
	}
	client, remote := net.Pipe()
	f.Cleanup(func() {
		_ = client.Close()
		_ = remote.Close()
	})
	f.Fuzz(func(t *testing.T, method, path, query string) {
		d := &fakeDaemon{records: make(chan api.Record)}
		s := New(Options{Daemon: d, Log: slog.New(slog.DiscardHandler)})
		s.leave() // tails end at once
		for _, as := range []class{changer, reader, public} {
			d.killed = nil
			r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Host: "localhost", RequestURI: path, Body: http.NoBody}
			ctx := context.WithValue(t.Context(), connKey{}, &connection{conn: &limitedConn{Conn: client}, class: as})
			h := s.full()
			if as == public {
				h = rebindingGuard(s.public())
			}
			w := httptest.NewRecorder()
			s.guard(h).ServeHTTP(w, r.WithContext(ctx))
			checkAnswer(t, w, d, as)
		}
	})
}

func checkAnswer(t *testing.T, w *httptest.ResponseRecorder, d *fakeDaemon, as class) {
	t.Helper()
	switch w.Code {
	case 200, 301, 307, 308:
		return
	case 400, 403, 404, 405, 414:
	default:
		t.Errorf("class %d: got %d %q, want a mistake of the request", as, w.Code, w.Body)
	}
	var answer api.Error
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Error == "" {
		t.Errorf("class %d: got %q, want an error in JSON", as, w.Body)
	}
	if bytes.Count(w.Body.Bytes(), []byte("\n")) != 1 {
		t.Errorf("class %d: got %q, want one line", as, w.Body)
	}
	if as != changer && len(d.killed) > 0 {
		t.Errorf("class %d: got %+v killed, want nothing", as, d.killed)
	}
}
