package session

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"tcpmux/config"
	"tcpmux/daemon/record"
)

func TestTemplates(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text  string
		banner, ack string // for the message of 7 bytes at 42
	}{
		{"empty", "", "", ""},
		{"none", "hello\r\n", "hello\r\n", "hello\r\n"},
		{"all bytes as written", "\x00\xff{\x1b[0m é}", "\x00\xff{\x1b[0m é}", "\x00\xff{\x1b[0m é}"},
		{"client and server", "{client}>{server}", "192.0.2.7:4711>192.0.2.1:7000", "192.0.2.7:4711>192.0.2.1:7000"},
		{"twice, and nothing between", "{listener}{listener}", "tcpmuxtcpmux", "tcpmuxtcpmux"},
		{"session", "<{session}>", "<0-1>", "<0-1>"},
		{"time", "{time}.", "2000-01-01T00:00:00Z.", "2000-01-01T00:00:00Z."},
		{"hostname", "220 {hostname} ready", "220 " + host + " ready", "220 " + host + " ready"},
		{"offset", "{offset} {listener} {offset}", "{offset} tcpmux {offset}", "42 tcpmux 42"},
		{"length", "{length}@{offset}", "{length}@{offset}", "7@42"},
		{"braces that are none", "{} {nosuch} {Client} { client } {client", "{} {nosuch} {Client} { client } {client", "{} {nosuch} {Client} { client } {client"},
		{"braces around one", "{{listener}}{{offset}}", "{tcpmux}{{offset}}", "{tcpmux}{42}"},
		{"long", strings.Repeat("{listener}", 400), strings.Repeat("tcpmux", 400), strings.Repeat("tcpmux", 400)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(newFixture(t, nil).config)
				banner, ack := NewBanner(config.Text(c.text)), NewAck(config.Text(c.text))
				if got := string(banner.For(s)); got != c.banner {
					t.Errorf("banner: got %q, want %q", got, c.banner)
				}
				if got := string(banner.BehindReply(s)); got != MuxReply+c.banner {
					t.Errorf("banner behind a reply: got %q, want %q", got, MuxReply+c.banner)
				}
				if got := string(ack.appendTo([]byte("> "), s, extent{42, 7})); got != "> "+c.ack {
					t.Errorf("acknowledgement: got %q, want %q", got, "> "+c.ack)
				}
				bound := ack.Bind(s)
				if got := string(bound.appendTo(nil, s, extent{42, 7})); got != c.ack {
					t.Errorf("bound acknowledgement: got %q, want %q", got, c.ack)
				}
				if banner.Text() != c.text || ack.Text() != c.text || banner.Empty() != (c.text == "") {
					t.Errorf("text: got %q and %q, want %q", banner.Text(), ack.Text(), c.text)
				}
			})
		})
	}
}

// TestTextsOfBytesHaveNoPlaceholders, whatever they look like.
func TestTextsOfBytesHaveNoPlaceholders(t *testing.T) {
	const odd = "{client}{time}\x00\xd9\xdc\xff{offset}\x80"
	s := &Session{}
	for name, form := range map[string]Template{
		"banner":          NewBanner(config.Bytes{Raw: odd, Hex: true}),
		"acknowledgement": NewAck(config.Bytes{Raw: odd, Hex: true}),
		"bound":           NewAck(config.Bytes{Raw: odd, Hex: true}).Bind(s),
		"fixed":           FixedText(odd),
	} {
		if got := string(form.For(s)); got != odd {
			t.Errorf("%s: got %q, want %q", name, got, odd)
		}
		if got := string(form.appendTo(nil, s, extent{1, 1})); got != odd {
			t.Errorf("%s: appended %q, want %q", name, got, odd)
		}
	}
}

// TestABoundTextIsNotFilledInAgain: an address or a name may look like a placeholder.
func TestABoundTextIsNotFilledInAgain(t *testing.T) {
	s := &Session{Config: Config{Source: record.Source{Listener: "{offset}", Session: "{time}"}}}
	bound := NewAck(config.Text("{listener} {session} {offset}")).Bind(s)
	if got, want := string(bound.appendTo(nil, s, extent{7, 1})), "{offset} {time} 7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAcknowledgementsAllocateNothing(t *testing.T) {
	s := &Session{Config: Config{Source: record.Source{Listener: "tcpmux", Session: "0-1"}}}
	text := NewAck(config.Text("{listener} {session} {time} {offset} {length}\n")).Bind(s)
	out := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(1000, func() { out = text.appendTo(out[:0], s, extent{1234567, 89}) }); n != 0 {
		t.Errorf("got %v allocations for an acknowledgement, want 0", n)
	}
	if !strings.HasPrefix(string(out), "tcpmux 0-1 2") || !strings.HasSuffix(string(out), "Z 1234567 89\n") {
		t.Errorf("got %q, want all filled in", out)
	}
}

// TestAFixedBannerAllocatesNothing, also behind a reply.
func TestAFixedBannerAllocatesNothing(t *testing.T) {
	s := New(Config{Settings: &Settings{Banner: FixedText("hello\n")}, Past: &Past{}})
	for _, reply := range []string{"", MuxReply} {
		s.Reply = reply
		if n := testing.AllocsPerRun(1000, func() { _ = s.Greeting() }); n != 0 || string(s.Greeting()) != reply+"hello\n" {
			t.Errorf("got %q and %v allocations for it, want %q and none", s.Greeting(), n, reply+"hello\n")
		}
	}
}
