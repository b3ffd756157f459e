package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
)

// TestTheStatusPageInABrowser is the page of a running daemon with its own headers, among them the
// content security policy: it loads its script and style, shows a session, looks again, and is
// changed by no client that says markup.
func TestTheStatusPageInABrowser(t *testing.T) {
	const hostile = `<script>document.title="owned"</script><img src=x onerror="document.title='owned'">`
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: as root, apt-get install chromium", err)
	}
	dir, page := t.TempDir(), clitest.Refused(t)
	config := settings(t, dir, "127.0.0.1:0", "proxy_protocol = [\"127.0.0.0/8\"]\nack = \"+\"", "[status]\naddress = \""+page+"\"")
	d, address := daemonOf(t, config)
	good := dial(t, address)
	say(t, good, "PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n")
	hear(t, good, "Welcome connect!\r\n")
	say(t, good, hostile+"\n")
	hear(t, good, "+")
	bad := dial(t, address)
	say(t, bad, "PROXY TCP4 "+hostile+" 192.0.2.1 1 80\r\n"+hostile+"\n")
	_, _ = io.Copy(io.Discard, bad) // it is closed for its header

	cmd := exec.CommandContext(t.Context(), chromium,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=20000", "--window-size=1200,1000", "--dump-dom", "http://"+page+"/")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.WaitDelay = time.Minute
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	dom := string(out)
	for _, want := range []string{
		"serving, all is well", clitest.Version, "203.0.113.7:4711", " via 127.0.0.1:", "84 B", filepath.Join(dir, "records.log"),
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("got no %q in the page:\n%s", want, dom)
		}
	}
	if strings.Contains(dom, "<script>") || strings.Contains(dom, "<img") || regexp.MustCompile(`<title>[^<]*owned`).MatchString(dom) {
		t.Errorf("got markup of a client:\n%s", dom)
	}
	if !regexp.MustCompile(`<path d="M[^"]*L`).MatchString(dom) {
		t.Errorf("got no chart of several looks:\n%s", dom)
	}
	if records := d.stops(dir); !strings.Contains(records, fmt.Sprintf(": %s\n", hostile)) {
		t.Errorf("records: got %q, want what the client said", records)
	}
}
