// Package tap lets readers follow what sessions record, while it is recorded. It promises that
// nobody who is followed waits for a reader: what a slow reader misses is counted, its memory is
// bounded, and while there is no reader a session only looks whether there is one.
package tap

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"tcpmux/daemon/record"
	"tcpmux/daemon/sockaddr"
)

const (
	// readerSize is how many bytes of records may wait for one reader. Records that are longer
	// are missed by all.
	readerSize = 1 << 20
	// queueSize is about how many bytes may wait to be handed to the readers.
	queueSize = 4 << 20
	// overhead is what lines cost in addition to their bytes.
	overhead = 256
)

// Tap passes records on to readers. The zero value is ready to use, and a nil *Tap has no readers.
// Its methods may be called from any goroutine.
type Tap struct {
	readers atomic.Pointer[[]*Reader] // nil: there are none. Changed with mu locked

	mu     sync.Mutex
	queue  []*Lines      // not handed to the readers yet
	queued int           // bytes of these
	news   chan struct{} // holds a token when the queue is not empty; nil without readers
	quit   chan struct{} // closed when the last reader leaves

	handing sync.Mutex // of whoever hands out the queue
}

// Lines are records of one session, in the format of the record file.
type Lines struct {
	source  record.Source
	text    []byte
	records int64
	long    bool          // no reader has room for the text, which is not kept
	peer    sockaddr.Peer // of the source; of whoever hands out the queue
}

// Take copies lines that are about to be recorded, if there is a reader for them; else it returns
// nil. They follow those of the earlier call that returned more, which may be nil.
func (t *Tap) Take(more *Lines, source *record.Source, lines []byte) *Lines {
	if t == nil {
		return nil
	}
	readers := t.readers.Load()
	if readers == nil {
		return nil
	}
	return take(*readers, more, source, lines)
}

func take(readers []*Reader, l *Lines, source *record.Source, lines []byte) *Lines {
	if l == nil {
		wanted := func(r *Reader) bool { return r.filter.matches(source, sockaddr.Peer{}) }
		if len(lines) == 0 || !slices.ContainsFunc(readers, wanted) {
			return nil
		}
		l = &Lines{source: *source}
	}
	l.records += int64(bytes.Count(lines, []byte("\n")))
	if l.long = l.long || len(l.text)+len(lines) > readerSize-overhead; l.long {
		l.text = nil
		return l
	}
	l.text = append(l.text, lines...)
	return l
}

// Publish passes lines on that Take has copied, once they are recorded. It does not wait for
// readers.
func (t *Tap) Publish(l *Lines) {
	if l == nil {
		return
	}
	t.mu.Lock()
	if t.news == nil { // the readers have gone
		t.mu.Unlock()
		return
	}
	t.queue = append(t.queue, l)
	t.queued += len(l.text) + overhead
	full := t.queued > queueSize
	if !full {
		signal(t.news)
	}
	t.mu.Unlock()
	if full {
		t.handOut()
	}
}

// signal leaves a token in a channel that has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// handOutAll hands the queue to the readers whenever there is something in it.
func (t *Tap) handOutAll(news, quit <-chan struct{}) {
	for {
		select {
		case <-news:
			t.handOut()
		case <-quit:
			return
		}
	}
}

// handOut hands the queue to the readers.
func (t *Tap) handOut() {
	t.handing.Lock()
	defer t.handing.Unlock()
	t.mu.Lock()
	queue := t.queue
	t.queue, t.queued = nil, 0
	t.mu.Unlock()
	readers := t.readers.Load()
	if readers == nil {
		return
	}
	for _, l := range queue {
		l.peer, _ = sockaddr.ParsePeer(l.source.Remote) // else nobody
	}
	for _, r := range *readers {
		r.give(queue)
	}
}

// Readers returns how many readers there are.
func (t *Tap) Readers() int {
	if readers := t.readers.Load(); readers != nil {
		return len(*readers)
	}
	return 0
}

// Follow returns a reader of the records that the filter matches, from now on. Close ends it.
func (t *Tap) Follow(f Filter) *Reader {
	r := newReader(t, f)
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*Reader
	if readers := t.readers.Load(); readers != nil {
		all = slices.Clone(*readers)
	} else {
		t.news, t.quit = make(chan struct{}, 1), make(chan struct{})
		go t.handOutAll(t.news, t.quit)
	}
	all = append(all, r)
	// Those that take everything first: Take asks no further.
	slices.SortStableFunc(all, func(a, b *Reader) int { return cmp.Compare(a.filter.cost(), b.filter.cost()) })
	t.readers.Store(&all)
	return r
}

// remove ends what is handed to a reader.
func (t *Tap) remove(r *Reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	readers := t.readers.Load()
	if readers == nil {
		return
	}
	all := slices.DeleteFunc(slices.Clone(*readers), func(one *Reader) bool { return one == r })
	if len(all) > 0 {
		t.readers.Store(&all)
		return
	}
	t.readers.Store(nil)
	close(t.quit)
	t.queue, t.queued, t.news, t.quit = nil, 0, nil, nil
}

// Filter selects records. The zero value selects all.
type Filter struct {
	Listener string
	From     sockaddr.Sources
	Session  string
}

// cost is how much of a source has to be looked at.
func (f *Filter) cost() int {
	switch {
	case *f == Filter{}:
		return 0
	case f.From.Everybody():
		return 1
	}
	return 2
}

// matches reports whether the filter selects records of a source. peer is that of the source, or
// the zero value.
func (f *Filter) matches(source *record.Source, peer sockaddr.Peer) bool {
	if f.Listener != "" && f.Listener != source.Listener || f.Session != "" && f.Session != source.Session {
		return false
	}
	if f.From.Everybody() {
		return true
	}
	if !peer.IsValid() {
		peer, _ = sockaddr.ParsePeer(source.Remote) // else nobody
	}
	return f.From.Contains(peer)
}
