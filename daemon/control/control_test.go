package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
)

// TestAnswers walks all paths as root, as another user, and over TCP.
func TestAnswers(t *testing.T) {
	d := &fakeDaemon{
		status:   api.Status{Version: "1", Phase: "serving"},
		list:     api.Sessions{Sessions: []api.Session{{ID: "a-1"}, {ID: "a-2"}}, Total: 5},
		reloaded: api.Reloaded{Faults: []string{"x"}},
	}
	root, other := serve(t, d, as(0), nil), serve(t, d, as(1000), nil)
	for _, c := range []struct {
		method, target           string
		asRoot, asOther, overTCP int
		want                     string // in the answer to root
	}{
		{"GET", "/v1/status", 200, 200, 200, `"phase":"serving"`},
		{"HEAD", "/v1/status", 200, 200, 200, ""},
		{"GET", "/v1/sessions", 200, 200, 200, `"total":5}`},
		{"GET", "/v1/sessions/a-2", 200, 200, 200, `"id":"a-2"`},
		{"GET", "/v1/sessions/a-3", 404, 404, 404, `session \"a-3\": not found`},
		{"GET", "/v1/sessions/a%0a", 400, 400, 400, "visible characters"},
		{"DELETE", "/v1/sessions/a-1", 200, 403, 405, `{"killed":2}`},
		{"DELETE", "/v1/sessions/none", 404, 403, 405, "not found"},
		{"DELETE", "/v1/sessions?all=true", 200, 403, 405, `{"killed":2}`},
		{"DELETE", "/v1/sessions?source=10.0.0.0/8&listener=a", 200, 403, 405, `{"killed":2}`},
		{"DELETE", "/v1/sessions", 400, 403, 405, "all=true"},
		{"DELETE", "/v1/sessions?all=false", 400, 403, 405, "want true"},
		{"DELETE", "/v1/sessions?all=true&listener=a", 400, 403, 405, "want it alone"},
		{"DELETE", "/v1/sessions?source=0.0.0.0/0", 400, 403, 405, "all=true"},
		{"DELETE", "/v1/sessions?source=::/0", 400, 403, 405, "all=true"},
		{"DELETE", "/v1/sessions?source=::ffff:0.0.0.0/96", 400, 403, 405, "all=true"},
		{"DELETE", "/v1/sessions?listener=", 400, 403, 405, "want a name"},
		{"DELETE", "/v1/sessions?idle=5", 400, 403, 405, "want all, listener, source"},
		{"POST", "/v1/listeners/tcpmux/drain", 200, 403, 404, `{"listener":"tcpmux","draining":true,"clients":3}`},
		{"POST", "/v1/listeners/tcpmux/undrain", 200, 403, 404, `"draining":false`},
		{"POST", "/v1/listeners/x/drain", 404, 403, 404, "not found"},
		{"POST", "/v1/rotate", 200, 403, 404, `{"files":["records.log"]}`},
		{"POST", "/v1/rotate?x=1", 400, 403, 404, "want none"},
		{"POST", "/v1/reload", 200, 403, 404, `"faults":["x"]`},
		{"GET", "/v1/reload", 405, 405, 404, "POST"},
		{"POST", "/v1/status", 405, 405, 405, "GET, HEAD"},
		{"GET", "/v1/tail?x=1", 400, 400, 404, "want listener, session, source"},
		{"GET", "/metrics", 200, 200, 200, "tcpmux_up 1\n"},
		{"GET", "/healthz", 200, 200, 200, "ok\n"},
		{"GET", "/readyz", 200, 200, 200, "ok\n"},
		{"GET", "/", 404, 404, 200, "tcpmux-control(7)"},
		{"GET", "/app.js", 404, 404, 200, ""},
		{"GET", "/../v1/x", 404, 404, 404, ""},
		{"OPTIONS", "/v1/status", 405, 405, 405, ""},
		{"GET", "/v1/status?" + strings.Repeat("x", 5000), 414, 414, 414, "at most 4096"},
	} {
		t.Run(c.method+" "+c.target[:min(len(c.target), 40)], func(t *testing.T) {
			resp, text := root.ask(t, c.method, c.target, false)
			if resp.StatusCode != c.asRoot || !strings.Contains(text, c.want) {
				t.Errorf("as root: got %d %q, want %d with %q", resp.StatusCode, text, c.asRoot, c.want)
			}
			if resp.StatusCode/100 == 4 {
				var answer api.Error
				if c.method != "HEAD" && (json.Unmarshal([]byte(text), &answer) != nil || answer.Error == "") {
					t.Errorf("as root: got %q, want an error in JSON", text)
				}
			}
			if resp, text := other.ask(t, c.method, c.target, false); resp.StatusCode != c.asOther {
				t.Errorf("as another: got %d %q, want %d", resp.StatusCode, text, c.asOther)
			}
			if resp, text := other.ask(t, c.method, c.target, true); resp.StatusCode != c.overTCP {
				t.Errorf("over TCP: got %d %q, want %d", resp.StatusCode, text, c.overTCP)
			}
		})
	}
	if want := []api.Filter{{ID: "a-1"}, {ID: "none"}, {}, {Source: "10.0.0.0/8", Listener: "a"}}; !reflect.DeepEqual(d.killed, want) {
		t.Errorf("killed: got %+v, want %+v", d.killed, want)
	}
	for _, want := range []string{"level=INFO msg=\"changed by the control socket\" change=kill session=a-1 clients=2 uid=0 pid=7",
		"change=drain listener=tcpmux uid=0", "change=rotate", "change=reload"} {
		if !strings.Contains(root.log.String(), want) {
			t.Errorf("log: got\n%s\nwant %q in it", root.log, want)
		}
	}
	if strings.Contains(other.log.String(), "level=INFO") {
		t.Errorf("log: got\n%s\nwant nothing for requests that change nothing", other.log)
	}
}

// TestRoles: only root and the daemon's own user change something.
func TestRoles(t *testing.T) {
	own := os.Getuid()
	for _, c := range []struct {
		uid  uint32
		own  int
		want bool
	}{
		{0, 500, true}, {500, 500, true}, {501, 500, false},
		{65534, 65534, false}, // any user, in a user namespace
	} {
		if got := (Peer{UID: c.uid}).mayChange(c.own); got != c.want {
			t.Errorf("uid %d, daemon %d: got %v, want %v", c.uid, c.own, got, c.want)
		}
	}
	r := serve(t, &fakeDaemon{}, nil, nil) // the kernel says that it is us
	if resp, text := r.ask(t, "POST", "/v1/rotate", false); resp.StatusCode != 200 {
		t.Errorf("as the daemon's own user %d: got %d %q, want 200", own, resp.StatusCode, text)
	}
}

func TestFilters(t *testing.T) {
	d := &fakeDaemon{}
	r := serve(t, d, as(1000), nil)
	const good = "/v1/sessions?listener=tcpmux&source=2001:db8::/32&idle=1.5&min_bytes=7&sort=-bytes&limit=3"
	if resp, text := r.ask(t, "GET", good, false); resp.StatusCode != 200 || text != "{\"sessions\":[],\"total\":0}\n" {
		t.Fatalf("got %d %q, want an empty list", resp.StatusCode, text)
	}
	want := api.Filter{Listener: "tcpmux", Source: "2001:db8::/32", Idle: 1.5, MinBytes: 7, Sort: "-bytes", Limit: 3}
	if got := d.filters[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if resp, text := r.ask(t, "GET", "/v1/sessions?source=uid=01000", false); resp.StatusCode != 200 || d.filters[1].Source != "uid=1000" {
		t.Errorf("got %d %q and %+v, want the user's number", resp.StatusCode, text, d.filters)
	}
	for query, want := range map[string]string{
		"idel=5":                "want idle, limit, listener, min_bytes, sort, source",
		"idle=-1":               "want a number of seconds",
		"idle=NaN":              "want a number of seconds",
		"idle=1&idle=2":         "want it once",
		"min_bytes=1.5":         "want a whole number",
		"sort=age":              "want opened, heard, bytes, records, remote",
		"limit=-1":              "want a whole number",
		"source=10.0.0.1/8":     `want \"10.0.0.0/8\"`,
		"source=fe80::1%25eth0": "want an IP address, a prefix",
		"source=example.org":    "want an IP address, a prefix",
		"source=uid=x":          "want uid= and a number",
		"source=uid=-1":         "want uid= and a number",
		"listener=a%20b":        "visible characters",
		"a=%zz":                 "malformed",
		"a;b":                   "malformed",
	} {
		if resp, text := r.ask(t, "GET", "/v1/sessions?"+query, false); resp.StatusCode != 400 || !strings.Contains(text, want) {
			t.Errorf("%s: got %d %q, want 400 with %q", query, resp.StatusCode, text, want)
		}
	}
}

func TestManySessionsAreOneList(t *testing.T) {
	d := &fakeDaemon{list: api.Sessions{Total: 3000}}
	for i := range 3000 {
		d.list.Sessions = append(d.list.Sessions, api.Session{ID: fmt.Sprint(i)})
	}
	_, text := serve(t, d, as(1000), nil).ask(t, "GET", "/v1/sessions", false)
	var got api.Sessions
	if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, d.list) {
		t.Errorf("got %d sessions and error %v, want the list of %d", len(got.Sessions), err, d.list.Total)
	}
}

func TestHealth(t *testing.T) {
	d := &fakeDaemon{unwell: errors.New("sink hangs"), status: api.Status{Unready: []string{"one", "two"}}}
	r := serve(t, d, as(1000), nil)
	for target, want := range map[string]string{"/healthz": "sink hangs\n", "/readyz": "one\ntwo\n"} {
		if resp, text := r.ask(t, "GET", target, true); resp.StatusCode != 503 || text != want {
			t.Errorf("%s: got %d %q, want 503 %q", target, resp.StatusCode, text, want)
		}
	}
}

// TestAWedgedDaemonIsSaidToBe: also by calls that have no end, which must not pile up.
func TestAWedgedDaemonIsSaidToBe(t *testing.T) {
	d := &fakeDaemon{hang: make(chan struct{})}
	r := serve(t, d, as(0), func(l *limits) { l.read, l.change = time.Millisecond, time.Millisecond })
	defer close(d.hang)
	for _, c := range []struct{ method, target string }{
		{"GET", "/v1/status"}, {"GET", "/metrics"}, {"GET", "/readyz"}, {"POST", "/v1/rotate"}, {"POST", "/v1/reload"},
		{"POST", "/v1/listeners/tcpmux/drain"}, {"GET", "/v1/sessions"},
	} {
		if resp, text := r.ask(t, c.method, c.target, false); resp.StatusCode != 503 || !strings.Contains(text, "does not answer") {
			t.Errorf("%s %s: got %d %q, want 503", c.method, c.target, resp.StatusCode, text)
		}
	}
	for range 2 * r.limits.calls {
		if resp, _ := r.ask(t, "GET", "/v1/sessions", false); resp.StatusCode != 503 {
			t.Fatalf("got %d, want 503", resp.StatusCode)
		}
	}
	if n := len(r.calls); n > r.limits.calls {
		t.Errorf("got %d calls under way, want at most %d", n, r.limits.calls)
	}
	if resp, text := r.ask(t, "GET", "/v1/status", false); resp.StatusCode != 503 || !strings.Contains(text, "too many requests") {
		t.Errorf("got %d %q, want 503 as too many are under way", resp.StatusCode, text)
	}
}

// TestAFreePlaceIsTaken though the time is over: that is not for want of one.
func TestAFreePlaceIsTaken(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // of which half would find the end of the time first
		places := make(chan struct{}, 1)
		if !enter(over, places) {
			t.Fatal("got no place, though one was free")
		}
		if enter(over, places) {
			t.Fatal("got a place, though none was free")
		}
	}
}

func TestAPanicIsOneFailedRequest(t *testing.T) {
	d := &fakeDaemon{panics: true}
	r := serve(t, d, as(0), nil)
	for range 3 {
		if resp, text := r.ask(t, "GET", "/v1/status", false); resp.StatusCode != 500 || !strings.Contains(text, "bug") {
			t.Fatalf("got %d %q, want 500", resp.StatusCode, text)
		}
	}
	if !strings.Contains(r.log.String(), "level=ERROR") {
		t.Errorf("log: got\n%s\nwant an error", r.log)
	}
	if n := len(r.calls); n != 0 {
		t.Errorf("got %d calls under way, want 0", n)
	}
}

func TestRebinding(t *testing.T) {
	r := serve(t, &fakeDaemon{}, nil, nil)
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:9464": 200, "[::1]:9464": 200, "[::1]": 200, "localhost:1": 200, "LOCALHOST": 200,
		"evil.example": 421, "evil.example:9464": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "127.1": 421,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://127.0.0.1/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, text := r.do(t, req, true)
		if resp.StatusCode != want {
			t.Errorf("%s: got %d %q, want %d", host, resp.StatusCode, text, want)
		}
		for name, value := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		} {
			if got := resp.Header.Get(name); !strings.HasPrefix(got, value) {
				t.Errorf("%s: header %s: got %q, want %q", host, name, got, value)
			}
		}
	}
}

// TestNoRequestCanForgeALogLine: what a peer says stays in its attribute, and is bounded.
func TestNoRequestCanForgeALogLine(t *testing.T) {
	r := serve(t, &fakeDaemon{}, as(1000), nil)
	r.ask(t, "GET", "/x%0alevel=ERROR%20msg=forged"+strings.Repeat("y", 2000), false)
	log := r.log.String()
	if strings.Contains(log, "\nlevel=ERROR") || strings.Count(log, "\n") != 1 || len(log) > 1000 {
		t.Errorf("got %d bytes:\n%s\nwant one short line", len(log), log)
	}
}
