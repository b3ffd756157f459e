// Package counts counts what the clients of a listener do, for status and metrics: plain values
// that sessions add to and a metrics page reads. Everything in it is safe for concurrent use, waits
// for nobody for long, and allocates nothing per message. The zero values are ready to use.
package counts

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Listener has the counts of one listener since the process started. The methods of a nil Listener
// do nothing: a session in a process of its own has none.
type Listener struct {
	// What each batch of messages changes stands together: the cores of a busy machine pass it
	// from one to another, and then do that once.

	Records atomic.Int64 // messages that were recorded
	Bytes   atomic.Int64 // of the streams, that messages have taken
	// Delay is how long messages took from when they were seen to when they were written, in
	// nanoseconds: one observation a batch.
	Delay Histogram
	Batch Histogram // messages of a session that were handed to the sink together
	// Size is how many bytes of a stream a message takes. Also counted are those that a sink
	// which was closed did not take.
	Size Histogram

	Acks    atomic.Int64 // acknowledgements that were sent
	Clients atomic.Int64 // that are served now
	Visits  atomic.Int64 // sessions that have begun, those of the process before included
	Silent  atomic.Int64 // sessions that have ended without data
	Flagged Words        // messages that are not whole, by their flag
	Refused Words        // clients that were refused, by the reason
	Closed  Words        // sessions that have ended, by the reason

	Handshakes Words     // TLS handshakes that have ended, by how: "done" or why they failed
	Handshake  Histogram // how long those took that were done, in nanoseconds

	Upstream Upstream // of a proxy
}

// Recorded counts a batch of messages that is written: how many they are, how many bytes of the
// stream they take, and how long that took, in nanoseconds.
func (l *Listener) Recorded(records, bytes, delay int64) {
	if l == nil || bytes == 0 {
		return
	}
	l.Bytes.Add(bytes)
	l.Records.Add(records)
	l.Batch.Observe(records)
	l.Delay.Observe(delay)
}

// Measured counts the sizes of messages, and those that are not whole by their flag. Both begin
// anew.
func (l *Listener) Measured(sizes *Sizes) {
	if sizes.used == 0 {
		return
	}
	if l != nil {
		l.Size.add(sizes)
		if sizes.broken {
			l.flag(sizes)
		}
	}
	sizes.Reset()
}

func (l *Listener) flag(sizes *Sizes) {
	for i, n := range sizes.flagged {
		if n > 0 {
			l.Flagged.Add(flags[i], int64(n))
		}
	}
}

// Acknowledged counts acknowledgements that were sent.
func (l *Listener) Acknowledged(n int64) {
	if l != nil && n > 0 {
		l.Acks.Add(n)
	}
}

// Ended counts the end of a session, for a reason.
func (l *Listener) Ended(reason string) {
	if l != nil {
		l.Closed.Add(reason, 1)
	}
}

// SilentVisit counts a session that has ended without data.
func (l *Listener) SilentVisit() {
	if l != nil {
		l.Silent.Add(1)
	}
}

// Words count something by words, which come from a short list.
type Words struct {
	mu  sync.Mutex
	all map[string]int64
}

// Add adds n to what a word counts.
func (w *Words) Add(word string, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[string]int64)
	}
	w.all[word] += n
}

// Snapshot returns the counts so far, without words that were never added.
func (w *Words) Snapshot() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		return map[string]int64{}
	}
	return maps.Clone(w.all)
}
