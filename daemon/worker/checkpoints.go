package worker

import "tcpmux/daemon/state"

// checkpoints is the session.Checkpoints of a process: the daemon keeps them, as it would those of
// a session that it serves itself.
type checkpoints struct {
	sink *remoteSink
	last *lastMessage // whether messages were recorded that a checkpoint has to follow
	acks bool         // one follows all messages: these do not tell what was acknowledged
	base int64        // from where on the daemon keeps something
	have int          // how many bytes that are
	full bool         // it has no room for what begins there
}

// Save implements session.Checkpoints: nothing is sent while the daemon knows from the messages
// alone how far the session has come. It returns when the daemon has answered.
func (c *checkpoints) Save(t state.Tally, more bool, moved []byte) error {
	due := more && c.acks || c.last.cut
	if t.Offset != c.base {
		due = due || c.have > 0
		c.base, c.have, c.full = t.Offset, 0, false
	}
	if c.full {
		moved = nil
	}
	if !due && len(moved) == c.have {
		return nil
	}
	c.last.cut = false
	ok, err := c.sink.checkpoint(&checkpoint{
		checkpointHeader: checkpointHeader{Progress: progressOf(t), Have: uint32(c.have)},
		more:             moved[c.have:],
	})
	if err != nil {
		return err
	}
	if !ok {
		c.full, moved = true, nil
	}
	c.have = len(moved)
	return nil
}

// Saved implements session.Checkpoints.
func (c *checkpoints) Saved(offset int64, n int) bool { return c.base == offset && c.have == n }

// progressOf returns what a session has come to, but for its records: the daemon counts them.
func progressOf(t state.Tally) progress {
	return progress{Offset: t.Offset, Framing: t.Framing, Pieces: t.Pieces}
}

// tally returns the progress as the daemon keeps it.
func (p progress) tally(records int64) state.Tally {
	return state.Tally{Offset: p.Offset, Records: records, Framing: p.Framing, Pieces: p.Pieces}
}
