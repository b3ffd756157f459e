package counts

import (
	"slices"
	"sync/atomic"
	"time"
)

// Upstream has the counts of what a proxy connects the clients of a listener with.
type Upstream struct {
	Sent     atomic.Int64 // bytes of clients that upstreams have got
	Answered atomic.Int64 // bytes of upstreams that clients have got
	// Connects are connections that were tried, by how that ended: "done" or why it failed.
	Connects Words
	Connect  Histogram // how long those took that were made, in nanoseconds
}

// connectDone counts a connection that was made.
const connectDone = "done"

// connectOther is any failure that has no word of its own.
const connectOther = "failed"

// connectFailures are the words of failures.
var connectFailures = []string{"refused", "timeout", "unreachable", "name", "tls", "reset", "loop", connectOther}

// ConnectResults returns how many connections with an upstream were tried, by how that ended, also
// for what has not happened.
func (l *Listener) ConnectResults() map[string]int64 {
	by := l.Upstream.Connects.Snapshot()
	by[connectDone] += 0
	for _, why := range connectFailures {
		by[why] += 0
	}
	return by
}

// ConnectDone counts a connection with an upstream, and how long it took to make it.
func (l *Listener) ConnectDone(took time.Duration) {
	if l != nil {
		l.Upstream.Connects.Add(connectDone, 1)
		l.Upstream.Connect.Observe(int64(took))
	}
}

// ConnectFailed counts that no upstream could be connected with. Any other word than the above
// counts as "failed".
func (l *Listener) ConnectFailed(why string) {
	if l == nil {
		return
	}
	if !slices.Contains(connectFailures, why) {
		why = connectOther
	}
	l.Upstream.Connects.Add(why, 1)
}

// Proxied counts bytes that went to an upstream, and back.
func (l *Listener) Proxied(sent, answered int) {
	switch {
	case l == nil:
	case sent > 0:
		l.Upstream.Sent.Add(int64(sent))
	default:
		l.Upstream.Answered.Add(int64(answered))
	}
}
