package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
)

func TestBannerFillsInItsPlaceholders(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, banner string
		want         string // with CLIENT, SERVER and SESSION to be replaced
	}{
		{"none", "Welcome connect!\r\n", "Welcome connect!\r\n"},
		{"all bytes as written", "\x00\xff\x1b[0m é", "\x00\xff\x1b[0m é"},
		{"client and server", "{client}>{server}", "CLIENT>SERVER"},
		{"twice, and nothing between", "{listener}{listener}", "tcpmuxtcpmux"},
		{"session", "<{session}>", "<SESSION>"},
		{"hostname", "220 {hostname} ready", "220 " + host + " ready"},
		{"braces that are none", "{} {nosuch} {Client} { client } {client", "{} {nosuch} {Client} { client } {client"},
		{"braces around one", "{{listener}}", "{tcpmux}"},
		{"long", strings.Repeat("{listener}", 400), strings.Repeat("tcpmux", 400)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Banner, cfg.Record.Format = config.Text(c.banner), "json" }).open()
			conn := d.client()
			_ = conn.CloseWrite()
			got := conn.hearEnd()
			want := strings.NewReplacer("CLIENT", conn.addr(), "SERVER", conn.RemoteAddr().String(), "SESSION", sessionOf(t, d)).Replace(c.want)
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestConfigurationKnowsThePlaceholders that are filled in, and the pages tell of them.
func TestConfigurationKnowsThePlaceholders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcpmux.toml")
	if err := os.WriteFile(path, []byte(`banner = "{nosuch}"`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil || len(cfg.Warnings) != 1 {
		t.Fatalf("got %q, %v, want one warning", cfg.Warnings, err)
	}
	var known []string
	_, list, _ := strings.Cut(cfg.Warnings[0], "the placeholders are ")
	for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(list, -1) {
		known = append(known, m[1])
	}
	filled := slices.Sorted(maps.Keys(facts))
	if slices.Sort(known); !slices.Equal(known, filled) {
		t.Errorf("got %q known to the configuration, want %q", known, filled)
	}
	for _, page := range []string{"../packaging/tcpmux.toml", "../packaging/man/tcpmux.toml.5"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range filled {
			if !strings.Contains(string(text), "{"+name+"}") {
				t.Errorf("%s: got no {%s}", page, name)
			}
		}
	}
}

// sessionOf is the name of the only session, as its records have it.
func sessionOf(t *testing.T, d *desk) string {
	t.Helper()
	var r struct{ Session string }
	line, _, _ := strings.Cut(d.records(`"kind":"close"`), "\n")
	if err := json.Unmarshal([]byte(line), &r); err != nil || r.Session == "" {
		t.Fatalf("got %v in %q, want a session", err, line)
	}
	return r.Session
}

func TestBannerTellsTheTimeInUTC(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text("{time}") }).open()
	conn := d.client()
	_ = conn.CloseWrite()
	got := conn.hearEnd()
	if _, err := time.Parse("2006-01-02T15:04:05Z", got); err != nil {
		t.Errorf("got %q, want RFC 3339 in UTC", got)
	}
}

func TestSessionsHaveNamesOfTheirOwn(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text("{session}") }).open()
	seen := make(map[string]bool)
	for range 50 {
		conn := d.client()
		_ = conn.CloseWrite()
		seen[conn.hearEnd()] = true
	}
	if len(seen) != 50 {
		t.Errorf("got %d names for 50 sessions, want 50", len(seen))
	}
}

func TestNoBannerSendsNothing(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Bytes{} }).open()
	conn := d.client()
	conn.say("hello\n")
	_ = conn.CloseWrite()
	if got := conn.hearEnd(); got != "" {
		t.Errorf("heard %q, want nothing", got)
	}
	d.records(": hello\n", conn.addr()+": eof, 1 records, 6 bytes\n")
}

// large does not fit the kernel's buffers.
var large = strings.Repeat("x", 16<<20)

// deaf connects with the smallest receive buffer.
func (d *desk) deaf() *client {
	return dial(d.t, d.ln.addr.String(), &net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2048) })
		if cerr != nil {
			return cerr
		}
		return err
	}})
}

func TestWhoeverDoesNotTakeTheBannerIsClosed(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text(large) })
	d.srv.bannerTimeout = 50 * time.Millisecond
	d.open()
	conn := d.deaf()
	conn.say("said meanwhile\nhalf")
	d.awaitClients(1)
	d.awaitClients(0)
	l := d.log.await(t, "session closed")
	if !strings.Contains(l, " reason=banner ") || !strings.Contains(l, "level=DEBUG msg=\"session closed\"") {
		t.Errorf("log: got %s, want reason=banner", l)
	}
	got := d.records(" close from "+conn.addr()+": banner, ", ": said meanwhile\n", " [timeout]: half\n")
	if open := strings.Index(got, " open from "); open < 0 || open > strings.Index(got, " close from ") {
		t.Errorf("records: got %q, want an opening before the closing", got)
	}
}

func TestASlowTakerGetsTheWholeBanner(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text(large) }).open()
	conn := d.deaf()
	conn.say("hello\n")
	d.awaitClients(1)
	conn.hear(large)
	d.records(": hello\n")
}

func TestABannerHoldsUpNobodyElse(t *testing.T) {
	d := newDesk(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text(large) }).open()
	for range 3 {
		d.deaf()
	}
	d.awaitClients(3)
	conn := d.greeted()
	conn.say("hello\n")
	d.records(": hello\n")
	fmt.Fprint(conn, "more\n")
	d.records(": more\n")
}
