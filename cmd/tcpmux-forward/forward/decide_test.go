package forward

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/recordfile"
)

// mark returns a mark that is different for each letter.
func mark(letter string) recordfile.Mark {
	return recordfile.Mark(strings.Repeat(letter, 16))
}

// at returns a cursor with one position.
func at(letter string, offset int64) delivery.Cursor {
	return delivery.Cursor{{Key: "00000001", Mark: mark(letter), Offset: offset}}
}

func TestDecide(t *testing.T) {
	made := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	this, other := delivery.Stream{Name: "TCPMUX", Created: made}, delivery.Stream{Name: "TCPMUX", Created: made.Add(time.Hour)}
	known := delivery.State{Stream: this, Sequence: 100, Delivered: at("A", 100)}
	skip, accept := known, known
	skip.Skip, accept.Accept = true, true
	found := func(s delivery.Stream, sequence uint64, c delivery.Cursor) stream.Last {
		return stream.Last{Found: true, Stream: s, Sequence: sequence, StreamFirst: 1, StreamLast: sequence, Cursor: c}
	}
	torn := func(l stream.Last) stream.Last {
		l.Torn = true
		return l
	}
	for _, c := range []struct {
		name    string
		state   delivery.State
		last    stream.Last
		holds   bool // the stream has the message that was acknowledged last
		want    delivery.Cursor
		lost    bool
		blocked string
	}{
		{name: "the first time", last: stream.Last{Stream: this}},
		{name: "the state was lost", last: found(this, 7, at("B", 7)), want: at("B", 7)},
		{name: "as it was", state: known, last: found(this, 100, at("A", 100)), want: at("A", 100)},
		{name: "acknowledged after the state was saved", state: known, last: found(this, 120, at("A", 120)), want: at("A", 120)},
		{name: "rolled back", state: known, last: found(this, 90, at("A", 90)), want: at("A", 90), lost: true},
		{name: "rolled back to before the first", state: known, last: stream.Last{Stream: this, StreamLast: 5}, lost: true},
		{name: "rolled back, and others went on", state: known, holds: true,
			last: stream.Last{Found: true, Stream: this, Sequence: 90, StreamLast: 200, Cursor: at("A", 90)}, want: at("A", 90), lost: true},
		{name: "removed by age", state: known, last: stream.Last{Stream: this, StreamFirst: 101, StreamLast: 100}, want: at("A", 100)},
		{name: "the last was removed by hand", state: known,
			last: stream.Last{Found: true, Stream: this, Sequence: 90, StreamLast: 100, Cursor: at("A", 90)}, want: at("A", 100)},
		{name: "the end of the last batch was removed by hand", state: known,
			last: torn(stream.Last{Found: true, Stream: this, Sequence: 95, StreamLast: 100, Cursor: at("A", 90)}), want: at("A", 100)},
		{name: "torn, and the state was lost", last: torn(found(this, 95, at("A", 90))), blocked: "--forget"},
		{name: "torn, and the state is older", state: known, last: torn(found(this, 110, at("A", 90))), blocked: "--forget"},
		{name: "torn, and rolled back", state: known, last: torn(found(this, 95, at("A", 90))), blocked: "--forget"},
		{name: "torn, and another stream", state: known, last: torn(found(other, 95, at("A", 90))), blocked: "--forget"},
		{name: "torn, and forgotten", state: skip, last: torn(found(this, 110, at("A", 90))), want: at("A", 100)},
		{name: "another stream with records", state: known, last: found(other, 90, at("A", 90)), want: at("A", 90)},
		{name: "another stream", state: known, last: stream.Last{Stream: other, StreamLast: 500}, blocked: "--accept-stream"},
		{name: "another stream, accepted", state: accept, last: stream.Last{Stream: other}, want: at("A", 100)},
		{name: "another stream with records, accepted", state: accept, last: found(other, 90, at("A", 90)), want: at("A", 90)},
		{name: "forgotten", state: skip, last: found(this, 100, at("A", 50)), want: at("A", 100)},
		{name: "forgotten, another stream", state: skip, last: stream.Last{Stream: other}, want: at("A", 100)},
		{name: "forgotten, and a file that only the stream knows", state: skip,
			last: found(this, 100, delivery.Cursor{{Key: "00000002", Mark: mark("C"), Offset: 3}}),
			want: delivery.Cursor{{Key: "00000002", Mark: mark("C"), Offset: 3}, at("A", 100)[0]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decide(t.Context(), c.state, c.last, func(_ context.Context, sequence uint64) (bool, error) {
				if sequence != c.state.Sequence {
					t.Errorf("got a question for message %d, want %d", sequence, c.state.Sequence)
				}
				return c.holds, nil
			})
			if _, blocked := errors.AsType[*blockedError](err); blocked != (c.blocked != "") || blocked && !strings.Contains(err.Error(), c.blocked) {
				t.Fatalf("got %v, want an error with %q", err, c.blocked)
			}
			if len(got.cursor)+len(c.want) > 0 && !reflect.DeepEqual(got.cursor, c.want) || got.lost != c.lost {
				t.Errorf("got %v and lost %v, want %v and %v", got.cursor, got.lost, c.want, c.lost)
			}
			if got.lost && got.notice == "" {
				t.Error("got no notice, want one")
			}
		})
	}
}

func TestDecideAsksAgainWhereTheStreamDoesNotAnswer(t *testing.T) {
	state := delivery.State{Stream: delivery.Stream{Name: "T"}, Sequence: 9}
	silent := errors.New("no answer")
	_, err := decide(t.Context(), state, stream.Last{Stream: state.Stream, StreamLast: 20},
		func(context.Context, uint64) (bool, error) { return false, silent })
	if !errors.Is(err, silent) {
		t.Errorf("got %v, want %v", err, silent)
	}
}
