package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/daemon/tlsconn/tlstest"
	"tcpmux/internal/await"
)

// secureDaemon is a daemon whose clients speak TLS. Its banner is "hello\n", and it acknowledges
// each message by its offset.
type secureDaemon struct {
	*dialogue
	address, control string
	records, config  string // files
	authority        *tlstest.Authority
	cert, key, ca    string // files
}

// secureSettings are what tests choose of its configuration.
type secureSettings struct {
	top, tls, listeners string // lines; CA in tls is the path of the authority's certificate
}

// secured starts one.
func secured(t *testing.T, c secureSettings) *secureDaemon {
	t.Helper()
	dir := t.TempDir()
	d := &secureDaemon{authority: tlstest.NewAuthority(t), records: filepath.Join(dir, "records.log"), control: filepath.Join(dir, "control")}
	d.cert, d.key, d.ca = d.authority.Write(d.authority.Server())
	d.config = write(t, "tcpmux.toml", fmt.Sprintf(`
address = "127.0.0.1:0"
control = %q
banner = "hello\n"
ack = "{offset}\n"
%s
[log]
level = "debug"
[tls]
certificate = %q
key = %q
%s
[record]
format = "json"
file = %q
%s`, d.control, c.top, d.cert, d.key, strings.ReplaceAll(c.tls, "CA", d.ca), d.records, c.listeners))
	d.dialogue, d.address = daemonOf(t, d.config)
	return d
}

// tlsEntry is a record.
type tlsEntry struct {
	Kind, Data, Reason, Remote, Listener string
	Messages                             int64
	TLS                                  *struct{ Version, Cipher, SNI, Subject string }
}

// entries returns all records.
func (d *secureDaemon) entries() (all []tlsEntry) {
	d.t.Helper()
	text, err := os.ReadFile(d.records)
	if err != nil {
		d.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var e tlsEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			d.t.Fatalf("%v: %q", err, line)
		}
		all = append(all, e)
	}
	return all
}

// ended waits until n sessions have ended, and returns all records.
func (d *secureDaemon) ended(n int) (all []tlsEntry) {
	d.t.Helper()
	await.Until(d.t, func() bool {
		all = d.entries()
		return len(reasons(all)) >= n
	}, func() { d.t.Errorf("got %+v, want %d ends; log: %s", all, n, d.log()) })
	return all
}

// reasons returns those of all ends.
func reasons(all []tlsEntry) (why []string) {
	for _, e := range all {
		if e.Reason != "" {
			why = append(why, e.Reason)
		}
	}
	return why
}

// said returns all messages.
func said(all []tlsEntry) (messages []string) {
	for _, e := range all {
		if e.Data != "" {
			messages = append(messages, e.Data)
		}
	}
	return messages
}

// compare reports an error unless one session of all records has said this and ended so.
func (d *secureDaemon) compare(all []tlsEntry, reason string, messages ...string) {
	d.t.Helper()
	if got := reasons(all); !slices.Equal(got, []string{reason}) {
		d.t.Errorf("reasons: got %q, want %q; log: %s", got, reason, d.log())
	}
	if got := said(all); !slices.Equal(got, messages) {
		d.t.Errorf("messages: got %q, want %q", got, messages)
	}
}

// log returns what the daemon has logged so far.
func (d *secureDaemon) log() string {
	for {
		select {
		case p, open := <-d.said:
			if !open {
				return d.seen
			}
			d.seen += p
		default:
			return d.seen
		}
	}
}

// client returns the configuration of a client that trusts the daemon's certificate.
func (d *secureDaemon) client() *tls.Config {
	return &tls.Config{RootCAs: d.authority.Pool(), ServerName: "localhost"}
}

// dialTLS returns a client whose handshake is done and that has taken the banner.
func (d *secureDaemon) dialTLS(c *tls.Config) *tls.Conn {
	d.t.Helper()
	conn := tls.Client(dial(d.t, d.address), c)
	hearTLS(d.t, conn, "hello\n")
	return conn
}

// hearTLS reads what must come.
func hearTLS(t *testing.T, conn io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("heard %q and %v, want %q", got[:n], err, want)
	}
}

// serves has a client say a line and get its acknowledgment.
func (d *secureDaemon) serves(c *tls.Config) *tls.Conn {
	d.t.Helper()
	conn := d.dialTLS(c)
	if _, err := io.WriteString(conn, "line\n"); err != nil {
		d.t.Fatal(err)
	}
	hearTLS(d.t, conn, "0\n")
	return conn
}

// debianTool is a program of Debian's. What it says on its standard error is heard too.
type debianTool struct {
	*dialogue
	errors *errorsOf
}

// tool starts a program of Debian's, whose output is heard. Without it the test fails and names the
// package.
func tool(t *testing.T, pkg, name string, args ...string) *debianTool {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: apt-get install %s", err, pkg)
	}
	cmd := clitest.Program(t, path, args...)
	p := &debianTool{errors: &errorsOf{}}
	cmd.Stderr = p.errors
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: %s", name, tail(p.errors.String()))
		}
	})
	p.dialogue = converse(t, cmd, cmd.StdoutPipe)
	return p
}

// complains waits for text on the program's standard error.
func (p *debianTool) complains(text string) {
	p.t.Helper()
	await.Until(p.t, func() bool { return strings.Contains(p.errors.String(), text) },
		func() { p.t.Errorf("%s: got %q, want %q", p.cmd.Args[0], p.errors, text) })
}

// errorsOf is what a program says on its standard error.
type errorsOf struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (e *errorsOf) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(b)
}

// String implements fmt.Stringer.
func (e *errorsOf) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.String()
}

// soon is a deadline for what must come.
func soon() time.Time { return time.Now().Add(patience) }
