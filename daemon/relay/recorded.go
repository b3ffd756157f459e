package relay

import (
	"time"

	"tcpmux/daemon/session"
)

// record has the recorder record and hand on what the client sends.
func (p *pair) record(recorder *session.Recorder) {
	why, err := recorder.Record()
	p.rested.Store(true)
	switch {
	case p.isOver():
	case why == session.ByEOF:
		p.clientEnded()
		if p.s.Phase() == session.Leaving {
			p.stop(recorder)
		}
	case why == session.ByLeave:
		p.stopRecorded()
	case why == session.ByReset, why == session.ByLoss, why == session.ByTruncation, why == session.ByError:
		p.endBroken(why, err)
	default:
		p.endBy(why, err, abort{})
	}
}

// writer is the upstream as the recorder has it.
type writer struct{ *pair }

// Write implements io.Writer: it waits until all is sent.
func (w *writer) Write(b []byte) (int, error) {
	n, err := w.server.TryWrite(b)
	if err == nil && n < len(b) {
		w.waiting.Store(true)
		w.watch()
		err = w.server.Write(b[n:])
		w.waiting.Store(false)
	}
	if err == nil {
		now := time.Now()
		w.heard.Store(int64(now.Sub(loaded)))
		w.s.Counts.Proxied(len(b), 0)
		return len(b), nil
	}
	w.breakUpstream(err)
	return 0, err
}

// Close implements io.Closer. The pair closes the upstream.
func (w *writer) Close() error { return nil }
