package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
)

// killWriter writes records as a daemon does, to several files that rotate all the time, and knows
// what it has written.
type killWriter struct {
	rnd     *rand.Rand
	files   []*recordfile.File
	written [][]string // by file, without line ends
	clients []*killClient
	enc     *record.Encoder
	opened  int
}

// killClient is a session of which the last record is not written yet.
type killClient struct {
	source record.Source
	file   int
	offset int64
	count  int64
}

// listeners are those of the files of a killWriter.
var listeners = []string{"main", "own-1", "own_2"}

// newKillWriter opens the files in dir. Of the last one, retention removes what is delivered, as
// the state in dir says.
func newKillWriter(t *testing.T, dir, state string, rnd *rand.Rand) *killWriter {
	t.Helper()
	w := &killWriter{rnd: rnd, enc: record.NewEncoder(record.JSON), written: make([][]string, len(listeners))}
	for i, name := range listeners {
		path := filepath.Join(dir, name+".log")
		opt := recordfile.Options{Path: path, Mode: 0o640, MaxSize: 8 << 10 << (2 * i), Compress: i != 1, Format: record.JSON, Sync: recordfile.SyncNever}
		opt.Trouble = func(what recordfile.Trouble, err error) {
			if err != nil && what != recordfile.Overdue && what != recordfile.TornLine {
				t.Errorf("%s: %v", name, err)
			}
		}
		if i == len(listeners)-1 {
			opt.MaxSize, opt.MaxBackups = 12<<10, 3
			opt.Undelivered = func() recordfile.Undelivered {
				s, err := delivery.Load(state)
				p, ok := s.Kept.Find(delivery.KeyOf(path))
				if err != nil || !ok {
					return recordfile.Undelivered{All: true}
				}
				return recordfile.Undelivered{From: p.Mark}
			}
		}
		f, err := recordfile.Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		w.files = append(w.files, f)
	}
	return w
}

// run writes until stop is closed, and closes the files.
func (w *killWriter) run(t *testing.T, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			for _, f := range w.files {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			return
		case <-time.After(time.Duration(w.rnd.IntN(20)) * time.Millisecond):
		}
		for i, f := range w.files {
			lines := w.some(i)
			if _, err := f.Write(lines); err != nil {
				t.Errorf("%s: %v", listeners[i], err)
				return
			}
			for line := range bytes.Lines(lines) {
				w.written[i] = append(w.written[i], string(line[:len(line)-1]))
			}
		}
	}
}

// some makes the next records for a file: of many clients at once, now and then a long one.
func (w *killWriter) some(file int) (lines []byte) {
	for range w.rnd.IntN(20) {
		c := w.client(file)
		w.enc.Begin(&c.source, time.Now())
		switch {
		case c.count == 0:
			lines = w.enc.Open(lines)
		case w.rnd.IntN(50) == 0:
			lines = w.enc.Close(lines, "eof", c.count-1, c.offset)
			c.file = -1
		default:
			size := w.rnd.IntN(200)
			if w.rnd.IntN(200) == 0 {
				size = w.rnd.IntN(30_000)
			}
			raw := append(randomText(w.rnd, size), '\n')
			lines = w.enc.Message(lines, &record.Message{Offset: c.offset, Raw: raw, EndLen: 1})
			c.offset += int64(len(raw))
		}
		c.count++
	}
	return lines
}

// client returns one of the clients of a file, or a new one.
func (w *killWriter) client(file int) *killClient {
	const most = 30
	if len(w.clients) == most {
		i := w.rnd.IntN(most)
		if c := w.clients[i]; c.file == file {
			return c
		} else if c.file >= 0 {
			for _, c := range w.clients {
				if c.file == file {
					return c
				}
			}
		}
		w.clients = append(w.clients[:i], w.clients[i+1:]...)
	}
	w.opened++
	c := &killClient{file: file, source: record.Source{Listener: listeners[file],
		Session: fmt.Sprintf("0f3c5a7e-%x", w.opened), Remote: fmt.Sprintf("192.0.2.7:%d", 1024+w.opened%60_000)}}
	w.clients = append(w.clients, c)
	return c
}

func randomText(rnd *rand.Rand, n int) []byte {
	const some = "abcdefghijklmnopqrstuvwxyz \\\"{}\x00\x1b\xff\xc3ü:"
	b := make([]byte, n)
	for i := range b {
		b[i] = some[rnd.IntN(len(some))]
	}
	return b
}

// tail is the end of what programs have written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	l.text = l.text[max(0, len(l.text)-8000):]
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.ToValidUTF8(string(l.text), "?")
}
