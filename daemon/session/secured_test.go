package session

import (
	"strings"
	"testing"

	"tcpmux/daemon/record"
	"tcpmux/daemon/state"
	"tcpmux/daemon/tlsconn"
)

// handshake is a stage that finds this out.
func handshake(info tlsconn.Info) Stage {
	return stageFunc(func(s *Session) (Reason, error) {
		s.SetTLS(info)
		return "", nil
	})
}

// TestTheTLSIsShownAndRecorded from the handshake on, as long as it may be.
func TestTheTLSIsShownAndRecorded(t *testing.T) {
	endless := strings.Repeat("CN=\x1b[2J\",", 1000)
	bubble(t, nil, func(f *fixture) {
		f.env.Buffers = NewBuffers(func() Encoder { return record.NewEncoder(record.JSON) })
		info := tlsconn.Info{TLS: record.TLS{Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: endless, Subject: endless}, Reason: "the module is missing"}
		f.config.Settings.Stages = []Stage{handshake(info)}
		if got := New(f.config).Summary().Secured; got != (Secured{}) {
			t.Errorf("before the handshake: got %+v, want nothing", got)
		}
		f.start()
		f.send("one\n")
		got, want := f.Summary().Secured, info.Bounded()
		if got.TLS == nil || *got.TLS != want || got.Kernel || got.KernelReason != info.Reason || len(want.Subject) != record.MaxSubject {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if again := f.Secured(); again != got {
			t.Errorf("got %+v, want %+v", again, got)
		}
		parser := record.NewParser(record.JSON)
		for i, line := range strings.Split(strings.TrimSuffix(f.sink.written(), "\n"), "\n") {
			r, err := parser.Parse([]byte(line))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			tls := want
			if i == 1 { // the message
				tls = record.TLS{Subject: want.Subject}
			}
			if r.TLS == nil || *r.TLS != tls {
				t.Errorf("got %+v, want %+v", r.TLS, tls)
			}
		}
	})
}

// TestNamesAreThoseThatTheStateKeeps: else the next process would record others.
func TestNamesAreThoseThatTheStateKeeps(t *testing.T) {
	kept, err := state.NewTLS(1)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	for _, name := range []string{"", "a.example", strings.Repeat("x", 10_000), strings.Repeat("ü", 10_000), "x" + strings.Repeat("\U0001f600", 10_000), strings.Repeat("\x80", 10_000)} {
		e := kept.Take(1)
		secret := make([]byte, 32)
		if !e.Begin(state.Secured{Version: 0x304, Suite: 0x1301, ServerName: name, Subject: name, Client: secret, Server: secret}) {
			t.Fatal("the state takes no connection")
		}
		e.Establish()
		got, ok := e.Secured()
		want := record.TLS{ServerName: name, Subject: name}.Bounded()
		if !ok || got.ServerName != want.ServerName || got.Subject != want.Subject {
			t.Errorf("%.20q: got %q and %q, want %q and %q", name, got.ServerName, got.Subject, want.ServerName, want.Subject)
		}
		e.Free()
	}
}
