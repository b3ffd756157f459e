package tap

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/record"
)

// ErrClosed reports that a reader was closed.
var ErrClosed = errors.New("reader of records is closed")

// Kinds of what Next returns, next to api.KindMissed.
const (
	KindMessage = "message"
	KindOpen    = "open"
	KindClose   = "close"
)

// Reader follows records. Next is for one goroutine at a time; Close may be called from any.
type Reader struct {
	tap    *Tap
	filter Filter
	news   chan struct{} // holds a token when something waits
	closed chan struct{}
	close  sync.Once

	mu     sync.Mutex
	lines  []*Lines // that wait for Next, the oldest first
	size   int      // bytes of these
	missed int64    // records before these

	// What Next works on.
	now     *Lines
	rest    []byte // of its text
	parsers [2]*record.Parser
}

func newReader(t *Tap, f Filter) *Reader {
	return &Reader{tap: t, filter: f, news: make(chan struct{}, 1), closed: make(chan struct{})}
}

// give has lines wait for Next. The oldest make room for them.
func (r *Reader) give(queue []*Lines) {
	r.mu.Lock()
	defer r.mu.Unlock()
	some := false
	for _, l := range queue {
		if r.filter.matches(&l.source, l.peer) {
			r.lines = append(r.lines, l)
			r.size += len(l.text) + overhead
			some = true
		}
	}
	drop := 0
	for ; r.size > readerSize; drop++ {
		r.missed += r.lines[drop].records
		r.size -= len(r.lines[drop].text) + overhead
	}
	if drop > 0 {
		r.lines = append([]*Lines(nil), r.lines[drop:]...) // so that what is dropped is let go
	}
	if some {
		signal(r.news)
	}
}

// Next waits for the next record, or for what the reader has missed. When none waits, it returns
// the error of ctx once that is done, or ErrClosed. The record's data is the caller's.
func (r *Reader) Next(ctx context.Context) (api.Record, error) {
	for {
		if rec, ok := r.next(); ok {
			return rec, nil
		}
		if r.fetch() {
			continue
		}
		select {
		case <-r.news:
		case <-r.closed:
			return api.Record{}, ErrClosed
		case <-ctx.Done():
			return api.Record{}, ctx.Err()
		}
	}
}

// fetch makes the oldest lines those that next works on, and reports whether there are any.
func (r *Reader) fetch() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) == 0 || r.missed > 0 {
		return r.missed > 0
	}
	r.now = r.lines[0]
	r.lines[0] = nil
	r.lines = r.lines[1:]
	r.size -= len(r.now.text) + overhead
	if r.rest = r.now.text; r.now.long {
		r.missed += r.now.records
	}
	return true
}

// next returns what comes next of what was fetched.
func (r *Reader) next() (rec api.Record, ok bool) {
	if len(r.rest) > 0 {
		line, rest, _ := bytes.Cut(r.rest, []byte("\n"))
		r.rest = rest
		parsed, err := r.parser(line).Parse(line)
		if err != nil { // no encoder makes such a line
			return api.Record{Kind: api.KindMissed, Records: 1}, true
		}
		return recordOf(&r.now.source, parsed), true
	}
	r.now = nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.missed > 0 {
		rec, r.missed = api.Record{Kind: api.KindMissed, Records: r.missed}, 0
		return rec, true
	}
	return rec, false
}

// parser returns that of the format of a line: a reload may change it.
func (r *Reader) parser(line []byte) *record.Parser {
	format := record.Text
	if bytes.HasPrefix(line, []byte("{")) {
		format = record.JSON
	}
	if r.parsers[format] == nil {
		r.parsers[format] = record.NewParser(format)
	}
	return r.parsers[format]
}

// recordOf returns a record of a source.
func recordOf(source *record.Source, r *record.Record) api.Record {
	rec := api.Record{
		Time: r.Time, Listener: source.Listener, Session: source.Session, Remote: source.Remote, Proxy: source.Proxy, Mux: source.Mux,
	}
	switch r.Kind {
	case record.KindOpen:
		rec.Kind, rec.TLS = KindOpen, tlsOf(source.TLS)
	case record.KindClose:
		rec.Kind, rec.Reason, rec.Records, rec.Bytes = KindClose, r.Reason, r.Records, r.Bytes
		rec.TLS = tlsOf(source.TLS)
	default:
		rec.Kind, rec.Data, rec.Flag = KindMessage, bytes.Clone(r.Data()), r.Flag
		if source.TLS != nil {
			rec.Subject = source.TLS.Subject
		}
	}
	return rec
}

// tlsOf returns what a reader is told of a client's TLS; nil if there is none.
func tlsOf(t *record.TLS) *api.TLS {
	if t == nil {
		return nil
	}
	return &api.TLS{Version: t.Version, Cipher: t.Cipher, SNI: t.ServerName, Subject: t.Subject}
}

// Close ends the reader, and lets go of what waits for it. It may be called again.
func (r *Reader) Close() {
	r.close.Do(func() {
		r.tap.remove(r)
		close(r.closed)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lines, r.size = nil, 0
	})
}
