package page

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
)

// hostile is how a client may name itself; a page that takes it for markup gets another title.
const hostile = `<script>document.title="owned"</script><img src=x onerror="document.title='owned'">`

// status returns what the page is told for the n-th time.
func status(n int64) api.Status {
	return api.Status{
		Version: "9.8.7", Phase: "serving", Clients: 4321, Limit: 5000,
		Started: time.Unix(1_700_000_000, 0), Now: time.Unix(1_700_000_000+90_000, 0),
		Config:  api.Config{File: "/etc/tcpmux.toml", Faults: []string{}},
		Survive: api.Survive{On: true, Clients: 4000},
		TLS:     api.TLSClients{Clients: 3210, Kernel: 3200, Survive: 3100},
		Listeners: []api.Listener{{
			Name: "scanners", Addresses: []string{"192.0.2.1:4001"}, Clients: 7, Limit: 10,
			Counts: api.Counts{Records: 1000 + n, Refused: map[string]int64{"rate": 5}},
			Rates:  api.Rates{Records: float64(n)},
		}, {Name: "down", Fault: "address in use " + hostile}},
		Files:    []api.File{{Path: "/var/log/tcpmux/records.log", Size: 3 << 20, Free: -1, Failing: true, Error: "no space " + hostile}},
		Problems: []string{"records cannot be written " + hostile},
		Unready:  []string{},
	}
}

var sessions = api.Sessions{Total: 2000, Sessions: []api.Session{
	{ID: "0123456789abcdef-1f", Listener: "scanners", Remote: hostile, Proxy: "198.51.100.7:9", State: "client", Records: 12,
		TLS: &api.SessionTLS{TLS: api.TLS{Version: "1.3", Subject: hostile}, Kernel: true}},
	{ID: "0123456789abcdef-20", Listener: hostile, Remote: "192.0.2.9:1", State: hostile},
}}

// serve serves the page without any header that protects it: the script alone has to.
func serve(t *testing.T) (url string, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(Files))
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, status(asked.Add(1))) })
	mux.HandleFunc("GET /v1/sessions", func(w http.ResponseWriter, _ *http.Request) { answer(w, sessions) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, asked
}

// browse returns the page as Chromium has it after some of the page's own time.
func browse(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: as root, apt-get install chromium", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
		"--user-data-dir=" + t.TempDir(), "--virtual-time-budget=20000", "--window-size=1200,1000",
	}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

// TestPageInABrowser holds that the page shows what the daemon says, goes on to, and takes nothing
// that a client says for markup.
func TestPageInABrowser(t *testing.T) {
	url, asked := serve(t)
	dom := browse(t, "--dump-dom", url+"/")
	for _, want := range []string{
		"serving", "9.8.7", "4,321 of 5,000", "1 d 1 h", "scanners", "192.0.2.1:4001", "7 of 10",
		"3.0 MiB", "0123456789abcdef-1f", " via 198.51.100.7:9", "2 of 2,000", "3,210, 3,100 outlive a crash", "1.3 kernel ", `<option value="scanners">scanners</option>`,
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("got no %q in the page:\n%s", want, dom)
		}
	}
	if n := strings.Count(dom, "&lt;script&gt;document.title"); n < 7 {
		t.Errorf("got the hostile name as text %d times, want it in each of 7 places:\n%s", n, dom)
	}
	if strings.Contains(dom, "<script>") || strings.Contains(dom, "<img") || regexp.MustCompile(`<title>[^<]*owned`).MatchString(dom) {
		t.Errorf("got markup from a name of a client:\n%s", dom)
	}
	if asked.Load() < 2 || !regexp.MustCompile(`<path d="M[^"]*L`).MatchString(dom) {
		t.Errorf("got %d looks, want several, and a chart of them:\n%s", asked.Load(), dom)
	}
}

// TestPageLoadsNothingFromElsewhere: it works in a network that leads nowhere.
func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]|@import|url\(`)
	for _, name := range []string{"index.html", "app.js", "style.css"} {
		text, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range elsewhere.FindAllString(string(text), -1) {
			if !strings.Contains(string(text), found+"ww.w3.org/2000/svg") { // the name of a namespace
				t.Errorf("%s: got %q, want nothing from elsewhere", name, found)
			}
		}
		if strings.Contains(string(text), "innerHTML") || strings.Contains(string(text), " style=") || strings.Contains(string(text), " on"+"click=") {
			t.Errorf("%s: got markup that a content security policy refuses", name)
		}
	}
}

// TestScreenshot makes a picture of the page for the README where PAGE_SCREENSHOT names a file.
func TestScreenshot(t *testing.T) {
	path := os.Getenv("PAGE_SCREENSHOT")
	if path == "" {
		t.Skip("PAGE_SCREENSHOT names no file")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	url, _ := serve(t)
	browse(t, "--screenshot="+path, url+"/")
}
