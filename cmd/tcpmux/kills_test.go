package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tcpmux/cmd/internal/clitest"
)

// TestKillsLoseAndDoubleNothing kills the daemon again and again at random moments under clients
// with random messages: in each model and in each framing, as text too, with files so small that
// batches are cut over them, and little memory for the beginnings of messages. Every other client
// is one of a listener that has a record file of its own.
func TestKillsLoseAndDoubleNothing(t *testing.T) {
	framings := []string{"line", "nul", "fixed", "silence", "octet-counted", "length-prefixed", "delimited", "chunk"}
	for i, model := range []string{"goroutine", "thread", "process"} {
		for j := range 3 {
			if testing.Short() && j > 0 {
				continue
			}
			framing, format := framings[(3*i+j)%len(framings)], "json"
			if framing == "line" && i%2 == 0 {
				format = "text"
			}
			t.Run(strings.Join([]string{model, framing, format}, " "), func(t *testing.T) {
				t.Parallel()
				k := killing{model: model, framing: framing, format: format, rnd: rand.New(rand.NewPCG(uint64(i), uint64(j)))}
				k.run(t)
			})
		}
	}
}

// framingKeys are those that a framing needs, or that make a kill meet more of it.
var framingKeys = map[string]string{
	"delimited": "delimiter = [\"\\r\\n\", \"\\n\", \"\\r\"]\n",
	"silence":   "silence = \"2ms\"\n",
	"fixed":     "message_size = 300\n",
}

// killing is one such trial.
type killing struct {
	model, framing, format string
	rnd                    *rand.Rand // of the test's goroutine
	dir                    string
	longest                int
	stop                   chan struct{}
}

const (
	killClients = 5
	killTimes   = 4
)

func (k *killing) run(t *testing.T) {
	k.dir = t.TempDir()
	k.stop = make(chan struct{})
	k.longest = []int{100, 30_000, 300_000}[k.rnd.IntN(3)]
	m, config := newKeeper(t), k.settings(t)
	addresses, names := []string{m.address, m.socket("own")}, []string{"records", "own"}
	d := m.start(config)
	m.hears("FDSTOREREMOVE=1", 1) // the daemon knows that there is a store
	var talking sync.WaitGroup
	streams := map[string]*bytes.Buffer{}
	files := map[string]string{} // in which each is recorded
	for i := range killClients {
		conn, sent := dial(t, addresses[i%2]), &bytes.Buffer{}
		_ = conn.SetDeadline(time.Now().Add(patience)) // it takes deadlines
		streams[conn.LocalAddr().String()] = sent
		files[conn.LocalAddr().String()] = names[i%2]
		rnd := rand.New(rand.NewPCG(k.rnd.Uint64(), 0))
		talking.Go(func() { k.talk(t, conn, rnd, sent) })
	}
	m.hears(fmt.Sprintf("STATUS=%d clients", killClients), 1)
	_ = d.cmd.Process.Signal(syscall.SIGINT) // from the next one on each client is kept
	if status := d.ends(); status != 0 {
		t.Fatalf("status: got %d, want 0: %s", status, d.seen)
	}
	d = m.start(config)
	for range killTimes {
		time.Sleep(time.Duration(k.rnd.IntN(150)) * time.Millisecond) // any moment is right
		d.kill()
		d = m.start(config)
	}
	close(k.stop)
	talking.Wait()
	d.stops(k.dir)
	for _, name := range names {
		if status, out, errs := clitest.Outcome(t, tcpmux(t, "verify", "--backups", filepath.Join(k.dir, name+".log"))); status != 0 {
			t.Errorf("verify %s.log: got status %d, want 0:\n%s%s", name, status, out, errs)
		}
		got := k.recorded(t, name)
		for remote, sent := range streams {
			if files[remote] == name {
				k.compare(t, got[remote], remote, sent.Bytes())
			} else if got[remote] != nil {
				t.Errorf("%s.log: got records of %s, want them in %s.log alone", name, remote, files[remote])
			}
		}
	}
	if t.Failed() {
		t.Logf("%+v\n%s", k, d.seen)
	}
}

// settings are random, but for what the trial is about.
func (k *killing) settings(t *testing.T) string {
	message := []int{200, 5000, 400_000}[k.rnd.IntN(3)]
	if k.format == "text" {
		message = 400_000 // what is cut cannot be told from what is not
	}
	// So that there are many files, and not too many.
	size := max(6*message+2000, k.longest, 4<<10)
	if k.rnd.IntN(2) == 0 {
		size = 4 << 20
	}
	return write(t, "tcpmux.toml", fmt.Sprintf(`
address = "127.0.0.1:0"
banner = ""
model = %q
framing = %q
%smax_message = "%dB"
survive_after = "0s"
[record]
file = %q
format = %q
sync = %q
compress = %v
max_size = "%dB"
max_backups = 0
max_age = "0s"
[limits]
memory = "1MiB"
[[listener]]
name = "own"
address = "127.0.0.1:0"
file = %q
`, k.model, k.framing, framingKeys[k.framing], message, filepath.Join(k.dir, "records.log"), k.format,
		[]string{"1s", "always", "none"}[k.rnd.IntN(3)], k.rnd.IntN(2) == 0, size,
		filepath.Join(k.dir, "own.log")))
}

// talk sends messages in pieces until it is to stop, and waits until the daemon has taken all of
// them.
func (k *killing) talk(t *testing.T, conn *net.TCPConn, rnd *rand.Rand, sent *bytes.Buffer) {
	for n := 0; ; n++ {
		select {
		case <-k.stop:
			_ = conn.CloseWrite()
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("%v: got %v, want the end of the stream", conn.LocalAddr(), err)
			}
			return
		default:
		}
		m := k.message(rnd, n)
		sent.Write(m)
		for len(m) > 0 {
			piece := m[:min(len(m), 1+rnd.IntN(k.longest))]
			if _, err := conn.Write(piece); err != nil {
				t.Errorf("%v: %v", conn.LocalAddr(), err)
				return
			}
			m = m[len(piece):]
			// The pace of a client: some pieces come one by one, and 4 MB a second are enough,
			// as all of it is read again.
			pause := time.Duration(len(piece)) * 250 * time.Nanosecond
			if rnd.IntN(4) == 0 {
				pause += time.Duration(rnd.IntN(5)) * time.Millisecond
			}
			time.Sleep(pause)
		}
	}
}

// message is the next message of a client, framing included.
func (k *killing) message(rnd *rand.Rand, n int) []byte {
	data := fmt.Appendf(nil, "%d ", n)
	for want := 1 + rnd.IntN(1+rnd.IntN(k.longest)); len(data) < want; {
		data = append(data, byte('a'+rnd.IntN(26)), '\\', byte(rnd.IntN(32)+32))
	}
	switch k.framing {
	case "line":
		return append(data, '\n')
	case "delimited":
		return append(data, []string{"\r\n", "\n", "\r"}[rnd.IntN(3)]...)
	case "nul":
		return append(data, 0)
	case "octet-counted":
		return append(fmt.Appendf(nil, "%d ", len(data)), data...)
	case "length-prefixed":
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
	}
	return data
}

// recorded is what a record file and those that were rotated say of each client.
func (k *killing) recorded(t *testing.T, name string) map[string]*told {
	t.Helper()
	path := filepath.Join(k.dir, name+".log")
	files, err := filepath.Glob(filepath.Join(k.dir, name+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files) // the time is in the name
	all := map[string]*told{}
	for _, f := range append(files, path) {
		for line := range strings.Lines(string(contents(t, f))) {
			if err := k.tell(all, line); err != nil {
				t.Fatalf("%s: %v in %.200q", filepath.Base(f), err, line)
			}
		}
	}
	return all
}

// told is what the records say of one client.
type told struct {
	stream        bytes.Buffer // as text: its lines
	opens, closes int
}

func (k *killing) tell(all map[string]*told, line string) error {
	if k.format == "text" {
		return tellText(all, strings.TrimSuffix(line, "\n"))
	}
	var r struct {
		Kind, Remote, Head, Data, End string
		Offset                        int64
		HeadBase64                    []byte `json:"head_base64"`
		DataBase64                    []byte `json:"data_base64"`
		EndBase64                     []byte `json:"end_base64"`
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return err
	}
	w := of(all, r.Remote)
	switch r.Kind {
	case "open":
		w.opens++
	case "close":
		w.closes++
	case "message":
		if got := int64(w.stream.Len()); got != r.Offset {
			return fmt.Errorf("got a message at offset %d behind %d bytes", r.Offset, got)
		}
		for _, part := range []any{r.Head, r.HeadBase64, r.Data, r.DataBase64, r.End, r.EndBase64} {
			fmt.Fprintf(&w.stream, "%s", part)
		}
	}
	return nil
}

func tellText(all map[string]*told, line string) error {
	words := strings.SplitN(line, " ", 4) // TIME KIND…
	switch {
	case len(words) < 4:
		return fmt.Errorf("no record")
	case words[1] == "open":
		of(all, words[3]).opens++
	case words[1] == "close":
		remote, _, _ := strings.Cut(words[3], ":")
		port, _, _ := strings.Cut(words[3][len(remote)+1:], ":")
		of(all, remote+":"+port).closes++
	default:
		w := of(all, strings.TrimSuffix(words[2], ":"))
		w.stream.WriteString(strings.ReplaceAll(words[3], `\\`, `\`) + "\n")
	}
	return nil
}

func of(all map[string]*told, remote string) *told {
	if all[remote] == nil {
		all[remote] = &told{}
	}
	return all[remote]
}

// contents is what a record file holds.
func contents(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil && strings.HasSuffix(path, ".gz") {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(text)); err == nil {
			text, err = io.ReadAll(z)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return text
}

// compare tells the first byte of a client that is not recorded as it was sent, once.
func (k *killing) compare(t *testing.T, got *told, remote string, sent []byte) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: got no records", remote)
		return
	}
	if got.opens != 1 || got.closes != 1 {
		t.Errorf("%s: got %d opens and %d closes, want one of each", remote, got.opens, got.closes)
	}
	stream := got.stream.Bytes()
	at := 0
	for at < len(stream) && at < len(sent) && stream[at] == sent[at] {
		at++
	}
	if at < len(stream) || at < len(sent) {
		t.Errorf("%s: got %d bytes, want %d; from byte %d on %.60q, want %.60q", remote, len(stream), len(sent), at, stream[at:], sent[at:])
	}
}
