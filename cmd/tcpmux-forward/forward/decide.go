package forward

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/daemon/delivery"
)

// start is where a delivery begins.
type start struct {
	cursor delivery.Cursor
	// lost is set if the stream has lost records that it had acknowledged.
	lost bool
	// notice is what is to be said about the stream; "" is nothing.
	notice string
}

// blockedError is what an administrator has to decide.
type blockedError struct{ text string }

// Error says what there is to decide.
func (e *blockedError) Error() string { return e.text }

// decide returns where to go on. The state is what this machine knows, and last is what the stream
// says. Where they disagree, the stream is right about what it has. at reports whether the stream
// has a message with a sequence.
func decide(ctx context.Context, s delivery.State, last stream.Last, at func(context.Context, uint64) (bool, error)) (start, error) {
	same := s.Stream.Name == last.Stream.Name && s.Stream.Created.Equal(last.Stream.Created)
	switch {
	case s.Skip:
		return start{cursor: forgotten(s, last.Cursor)}, nil
	case last.Torn && (!same || last.Sequence >= s.Sequence):
		return start{}, tornError(last)
	case s.Sequence == 0: // nothing was ever delivered by this state
		return start{cursor: last.Cursor}, nil
	case !same && last.Found:
		return start{cursor: last.Cursor, notice: fmt.Sprintf(
			"%s is not the stream that was delivered to before (%s); going on where it stands",
			named(last.Stream), strings.TrimSuffix(named(s.Stream), ","))}, nil
	case !same && s.Accept:
		return start{cursor: s.Delivered}, nil
	case !same:
		return start{}, &blockedError{fmt.Sprintf("%s is not the stream that was delivered to before (%s), "+
			"and it has no record of this machine: \"tcpmux-forward --accept-stream\" goes on behind what was delivered, "+
			"and then \"tcpmux-forward --from FILE...\" can deliver older files", named(last.Stream), strings.TrimSuffix(named(s.Stream), ","))}
	case last.Found && last.Sequence >= s.Sequence:
		return start{cursor: last.Cursor}, nil
	}
	// The stream has no message of ours at or behind the last one that it has acknowledged.
	// Either it was removed, as by an age limit, or it never reached the disk of the server.
	// Where messages are removed, the sequence of the last one stays.
	lost := last.StreamLast < s.Sequence
	if !lost {
		var err error
		if lost, err = at(ctx, s.Sequence); err != nil { // then it is somebody else's
			return start{}, err
		}
	}
	if !lost {
		return start{cursor: s.Delivered}, nil
	}
	if last.Torn {
		return start{}, tornError(last)
	}
	return start{cursor: last.Cursor, lost: true, notice: fmt.Sprintf(
		"%s has lost records that it had acknowledged: its last message is %d, and %d was acknowledged; "+
			"they are delivered again, as far as their files are still there", named(last.Stream), last.StreamLast, s.Sequence)}, nil
}

// tornError returns what an administrator has to decide if only the stream knew where to go on, and
// does not any more.
func tornError(last stream.Last) error {
	return &blockedError{fmt.Sprintf("the messages behind %d of %s were removed, and they said where the delivery stands: "+
		"\"tcpmux-forward --forget\" goes on with what is recorded from now on; when a record of that is delivered, "+
		"\"tcpmux-forward --from FILE...\" can deliver older files, of which some records may be in the stream",
		last.Sequence, named(last.Stream))}
}

// forgotten returns where to go on when a state says so: of the cursor of the stream, only
// positions in files that were not let go of count.
func forgotten(s delivery.State, c delivery.Cursor) delivery.Cursor {
	foreign := slices.DeleteFunc(slices.Clone(c), func(p delivery.Position) bool { return slices.Contains(s.Forgotten, p.Key) })
	return over(foreign, s.Delivered)
}

// over returns c with the positions of d in place of those with the same keys.
func over(c, d delivery.Cursor) delivery.Cursor {
	all := append(delivery.Cursor(nil), c...)
	for _, p := range d {
		all = all.With(p)
	}
	return all
}

// named describes a stream, with the comma that ends an apposition.
func named(s delivery.Stream) string {
	return fmt.Sprintf("stream %q, made %s,", s.Name, s.Created.UTC().Format(time.DateTime))
}
