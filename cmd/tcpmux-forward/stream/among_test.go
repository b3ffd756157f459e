package stream

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/natstest"
)

// eachChained runs f with each kind of server that has no atomic batches.
func eachChained(t *testing.T, f func(t *testing.T, s *natstest.Server)) {
	for _, m := range modes()[:3] {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			f(t, serve(t, m, natstest.Options{}))
		})
	}
}

// TestOtherFileComesBetween has somebody else deliver another file behind what is known, where
// nothing stops it.
func TestOtherFileComesBetween(t *testing.T) {
	eachChained(t, func(t *testing.T, s *natstest.Server) {
		one, other := connected(t, options(s)), connected(t, options(s))
		lastOf(t, one)
		a := batchOf(0, 20, nil, fileA)
		g, err := one.among(context.Background(), &a.Records[0])
		if err != nil {
			t.Fatal(err)
		}
		lastOf(t, other)
		publish(t, other, batchOf(0, 30, nil, fileB))
		_, _, err = one.link(context.Background(), a.Records, g, a.Cursor)
		wantKind(t, err, Stale)
		last := lastOf(t, one)
		if a, b := fileA.at(last.Cursor), fileB.at(last.Cursor); a != 20 || b != 30 {
			t.Errorf("got positions %d and %d, want 20 and 30", a, b)
		}
	})
}

// TestOtherHostComesBetween: behind the message of another host, a chain begins with the records of
// one file, and others follow only when it is known that nobody has delivered those.
func TestOtherHostComesBetween(t *testing.T) {
	eachChained(t, func(t *testing.T, s *natstest.Server) {
		c := connected(t, options(s))
		lastOf(t, c)
		first := batchOf(0, 1, nil, fileA, fileB)
		publish(t, c, first)
		if _, err := s.Connect().RequestMsg(nats.NewMsg("tcpmux.other.l.message"), patience); err != nil {
			t.Fatal(err)
		}
		b := batchOf(1, 5, first.Cursor, fileA, fileB)
		publish(t, c, b)
		all := natstest.All(t, s.Connect(), "S")
		if got := all[3].Header; got.Get(headerBehind) != "2" || !strings.HasPrefix(got.Get(headerCursor), "1 "+string(fileA.key)) {
			t.Errorf("got headers %q behind the other host, want a whole cursor that knows message 2", got)
		}
		if got := all[4].Header; got.Get(headerBehind) != "" || !strings.HasPrefix(got.Get(headerCursor), "1 "+string(fileB.key)) {
			t.Errorf("got headers %q of the other file, want a whole cursor that knows everything", got)
		}
		if last := lastOf(t, c); fileA.at(last.Cursor) != 6 || fileB.at(last.Cursor) != 6 {
			t.Errorf("got %+v, want position 6 in both files", last)
		}
		wantOnce(t, s, 6, fileA, fileB)
	})
}
