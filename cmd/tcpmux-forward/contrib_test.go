package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/daemon/record"
)

// accounts returns the users of contrib/forward/README.md, as a server's configuration has them.
func accounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../contrib/forward/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "\n    accounts {\n")
	block, _, end := strings.Cut(block, "\n    }\n")
	if !ok || !end {
		t.Fatal("README.md: got no accounts, want some")
	}
	return "accounts {\n" + block + "\n}\n"
}

var (
	admin  = nats.UserInfo("admin", "change-this-three")
	web1   = nats.UserInfo("web1", "change-this")
	reader = nats.UserInfo("reader", "change-this-too")
)

// asWeb1 returns the table [forward] of the machine of that user.
func asWeb1(t *testing.T, url string) string {
	t.Helper()
	user, password := secret(t, "web1"), secret(t, "change-this")
	return fmt.Sprintf("servers = [%q]\nhost = \"web1\"\nuser = %q\npassword = %q\n", url, user, password)
}

func secret(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// recorded appends n records of a session to the record file of a configuration, and returns them.
func recorded(t *testing.T, config, session string, n int) (lines []string) {
	t.Helper()
	e := record.NewEncoder(record.JSON)
	e.Begin(&record.Source{Listener: "main", Session: session, Remote: "192.0.2.7:40312"}, time.Now())
	var text []byte
	for i := range n {
		text = e.Message(text, &record.Message{Offset: int64(i * 4), Raw: []byte("abc\n"), EndLen: 1})
	}
	f, err := os.OpenFile(filepath.Join(filepath.Dir(config), "records.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// makeStream makes the stream, as an administrator.
func makeStream(t *testing.T, nc *nats.Conn, atomic bool) {
	t.Helper()
	text := fmt.Appendf(nil, `{"name":"TCPMUX","subjects":["tcpmux.*.*.*"],"retention":"limits","storage":"file","discard":"new","num_replicas":1`)
	if atomic {
		text = append(text, `,"allow_atomic":true`...)
	}
	m, err := nc.Request("$JS.API.STREAM.CREATE.TCPMUX", append(text, '}'), patience)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(m.Data), `"error"`) {
		t.Fatalf("create the stream: %s", m.Data)
	}
}

const patience = clitest.Patience

// TestPermissionsAreEnoughAndNoMore has a forwarder deliver with the permissions that
// contrib/forward/README.md gives it, in both modes, and tries what they must not allow.
func TestPermissionsAreEnoughAndNoMore(t *testing.T) {
	for _, c := range []struct {
		version string
		atomic  bool
	}{{"2.9", false}, {"2.10", false}, {natstest.Newest, false}, {natstest.Newest, true}} {
		t.Run(fmt.Sprintf("%s atomic %v", c.version, c.atomic), func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, c.version, natstest.Options{Config: accounts(t)})
			nc := s.Connect(admin)
			makeStream(t, nc, c.atomic)
			config, state := written(t, asWeb1(t, s.URL))
			var want []string
			for i := range 3 {
				want = append(want, recorded(t, config, fmt.Sprintf("1-%d", i), 1500)...)
				if i == 2 { // the stream alone knows where it stands
					if err := os.RemoveAll(state); err != nil {
						t.Fatal(err)
					}
				}
				if status, _, errs := clitest.Outcome(t, program(t, "--config", config, "--once")); status != 0 {
					t.Fatalf("status: got %d, want 0: %s", status, errs)
				}
				var got []string
				for _, m := range natstest.All(t, nc, "TCPMUX") {
					got = append(got, string(m.Data))
				}
				if strings.Join(got, "\n") != strings.Join(want, "\n") {
					t.Fatalf("got %d records, want %d, the same ones", len(got), len(want))
				}
			}
			for _, subject := range []string{"tcpmux.web2.main.message", "tcpmux.web1", "$JS.API.STREAM.PURGE.TCPMUX", "$JS.API.STREAM.DELETE.TCPMUX",
				"$JS.API.STREAM.UPDATE.TCPMUX", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.MSG.DELETE.TCPMUX", "$JS.API.STREAM.SNAPSHOT.TCPMUX"} {
				forbidden(t, s, web1, func(nc *nats.Conn) error { return nc.Publish(subject, nil) }, subject)
			}
			for _, subject := range []string{"tcpmux.>", "_READ.>", ">"} {
				forbidden(t, s, web1, func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err }, subject)
			}
			for _, subject := range []string{"tcpmux.web1.main.message", "$JS.API.STREAM.PURGE.TCPMUX"} {
				forbidden(t, s, reader, func(nc *nats.Conn) error { return nc.Publish(subject, nil) }, subject)
			}
		})
	}
}

// forbidden does something as a user, and wants the server to refuse it.
func forbidden(t *testing.T, s *natstest.Server, user nats.Option, do func(*nats.Conn) error, what string) {
	t.Helper()
	refused := make(chan error, 10)
	nc := s.Connect(user, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	defer nc.Close()
	if err := errors.Join(do(nc), nc.FlushTimeout(patience)); err != nil {
		t.Fatal(err)
	}
	select { // what the server says of it comes before the answer to Flush
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: got %v, want a violation of permissions", what, err)
		}
	case <-time.After(patience):
		t.Errorf("%s: got no error, want a violation of permissions", what)
	}
}

// TestConsumerReadsAsAReader gives back, with the reader's permissions, what a forwarder has
// delivered with its own.
func TestConsumerReadsAsAReader(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{Config: accounts(t)})
	makeStream(t, s.Connect(admin), true)
	config, _ := written(t, asWeb1(t, s.URL))
	recorded(t, config, "1-a", 1500)
	if status, _, errs := clitest.Outcome(t, program(t, "--config", config, "--once")); status != 0 {
		t.Fatalf("status: got %d, want 0: %s", status, errs)
	}
	consumer, err := clitest.Build(t.TempDir(), "../../contrib/forward/consumer")
	if err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(s.URL, "nats://", "nats://reader:change-this-too@", 1)
	status, got, errs := clitest.Outcome(t, clitest.Program(t, consumer, "--server", url, "--session", "1-a", "--inbox", "_READ"))
	if want := strings.Repeat("abc\n", 1500); status != 0 || got != want {
		t.Errorf("got status %d, %d bytes and %q, want 0 and %d bytes", status, len(got), errs, len(want))
	}
}
