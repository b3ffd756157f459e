package session_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
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
			f := servertest.New(t, func(cfg *config.Config) {
				cfg.Listeners[0].Banner, cfg.Record.Format = config.Text(c.banner), "json"
			}).Open()
			conn := f.Client()
			_ = conn.CloseWrite()
			got := conn.HearEnd()
			want := strings.NewReplacer("CLIENT", conn.Addr(), "SERVER", conn.RemoteAddr().String(), "SESSION", sessionOf(t, f)).Replace(c.want)
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestConfigurationKnowsThePlaceholders: it warns of all others, and the manual pages name them.
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
	filled := session.Placeholders()
	if slices.Sort(known); !slices.Equal(known, filled) {
		t.Errorf("got %q known to the configuration, want %q", known, filled)
	}
	for _, page := range []string{"../../packaging/tcpmux.toml", "../../packaging/man/tcpmux.toml.5"} {
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

// sessionOf returns the name of the only session, from its records.
func sessionOf(t *testing.T, f *servertest.Fixture) string {
	t.Helper()
	var r struct{ Session string }
	line, _, _ := strings.Cut(f.AwaitRecords(`"kind":"close"`), "\n")
	if err := json.Unmarshal([]byte(line), &r); err != nil || r.Session == "" {
		t.Fatalf("got %v in %q, want a session", err, line)
	}
	return r.Session
}

func TestBannerTellsTheTimeInUTC(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text("{time}") }).Open()
	conn := f.Client()
	_ = conn.CloseWrite()
	got := conn.HearEnd()
	if _, err := time.Parse("2006-01-02T15:04:05Z", got); err != nil {
		t.Errorf("got %q, want RFC 3339 in UTC", got)
	}
}

func TestSessionsHaveNamesOfTheirOwn(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text("{session}") }).Open()
	seen := make(map[string]bool)
	for range 50 {
		conn := f.Client()
		_ = conn.CloseWrite()
		seen[conn.HearEnd()] = true
	}
	if len(seen) != 50 {
		t.Errorf("got %d names for 50 sessions, want 50", len(seen))
	}
}

func TestNoBannerSendsNothing(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Bytes{} }).Open()
	conn := f.Client()
	conn.Say("hello\n")
	_ = conn.CloseWrite()
	if got := conn.HearEnd(); got != "" {
		t.Errorf("heard %q, want nothing", got)
	}
	f.AwaitRecords(": hello\n", conn.Addr()+": eof, 1 records, 6 bytes\n")
}

// large is a banner that does not fit the kernel's buffers.
var large = strings.Repeat("x", 16<<20)

func TestAClientThatDoesNotTakeTheBannerIsClosed(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text(large) })
	f.Server.Env().BannerTimeout = 50 * time.Millisecond
	f.Open()
	conn := f.Deaf()
	conn.Say("said meanwhile\nhalf")
	f.AwaitClients(1)
	f.AwaitClients(0)
	l := f.Log.Await(t, "session closed")
	if !strings.Contains(l, " reason=banner ") || !strings.Contains(l, "level=DEBUG msg=\"session closed\"") {
		t.Errorf("log: got %s, want reason=banner", l)
	}
	got := f.AwaitRecords(" close from "+conn.Addr()+": banner, ", ": said meanwhile\n", " [timeout]: half\n")
	if open := strings.Index(got, " open from "); open < 0 || open > strings.Index(got, " close from ") {
		t.Errorf("records: got %q, want an opening before the closing", got)
	}
}

func TestASlowTakerGetsTheWholeBanner(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text(large) }).Open()
	conn := f.Deaf()
	conn.Say("hello\n")
	f.AwaitClients(1)
	conn.Hear(large)
	f.AwaitRecords(": hello\n")
}

func TestABannerHoldsUpNobodyElse(t *testing.T) {
	f := servertest.New(t, func(cfg *config.Config) { cfg.Listeners[0].Banner = config.Text(large) }).Open()
	for range 3 {
		f.Deaf()
	}
	f.AwaitClients(3)
	conn := f.Greeted()
	conn.Say("hello\n")
	f.AwaitRecords(": hello\n")
	fmt.Fprint(conn, "more\n")
	f.AwaitRecords(": more\n")
}
