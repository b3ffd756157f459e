package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/daemon/delivery"
)

// TestLastOfASubject: servers find the last message of a machine, also of several subjects and
// where messages were deleted. Everything depends on it.
func TestLastOfASubject(t *testing.T) {
	for _, v := range natstest.Versions() {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, v, natstest.Options{})
			c := connected(t, options(s))
			js, err := s.Connect().JetStream(nats.MaxWait(patience))
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(1, 2))
			last := map[string][]uint64{} // of hosts
			for i := range 400 {
				host := []string{"box", "b", "other", "boxes"}[min(3, random.IntN(6))]
				a, err := js.Publish(fmt.Sprintf("tcpmux.%s.l%d.%d", host, random.IntN(5), random.IntN(3)), make([]byte, random.IntN(5000)))
				if err != nil {
					t.Fatal(err)
				}
				last[host] = append(last[host], a.Sequence)
				if all := last["box"]; len(all) > 0 && i%5 == 0 {
					if err := js.DeleteMsg("S", all[len(all)-1]); err != nil {
						t.Fatal(err)
					}
					last["box"] = all[:len(all)-1]
				}
				wantLastOf(t, c, last["box"])
				if i == 200 {
					s.Stop() // a kill may bring back what was deleted
					s.Restart()
					c = connected(t, options(s))
					if js, err = s.Connect().JetStream(nats.MaxWait(patience)); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func wantLastOf(t *testing.T, c *Conn, all []uint64) {
	t.Helper()
	info, err := c.streamInfo(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.lastMessage(context.Background(), c.filter, info.State.FirstSeq, info.State.LastSeq)
	if err != nil {
		t.Fatal(err)
	}
	var got, want uint64
	if m != nil {
		got = m.Sequence
	}
	if len(all) > 0 {
		want = all[len(all)-1]
	}
	if got != want {
		t.Fatalf("got last message %d, want %d", got, want)
	}
}

func TestLastMessageOfSomethingElse(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	c := connected(t, options(s))
	nc := s.Connect()
	for _, cursor := range []string{"", "1", "x", "1 78e9766d:AAAAAAAAAAAAAAAA", "+ 78e9766d:AAAAAAAAAAAAAAAA:-5", "1\r\nX: \x1b[2J"} {
		m := nats.NewMsg("tcpmux.box.l.message")
		if cursor != "" {
			m.Header.Set(headerCursor, cursor)
		}
		if _, err := nc.RequestMsg(m, patience); err != nil {
			t.Fatal(err)
		}
		_, err := c.Last(context.Background())
		wantKind(t, err, Refused, `"tcpmux.box.l.message"`, "something else publishes", "same host under [forward]")
	}
}

// TestChainIsCut begins chains that are never finished, and has Last find where they stand.
func TestChainIsCut(t *testing.T) {
	for _, m := range modes()[:3] {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			s := serve(t, m, natstest.Options{})
			c := connected(t, options(s))
			cursor := lastOf(t, c).Cursor
			for i := range 5 {
				b := batchOf(i*100, 100, cursor, fileA, fileB)
				if _, _, err := c.link(context.Background(), b.Records, guard{header: headerSequence, value: fmt.Sprint(c.known.streamLast)}, nil); err != nil {
					t.Fatal(err)
				}
				last := lastOf(t, c)
				if a, b := fileA.at(last.Cursor), fileB.at(last.Cursor); a != (i+1)*100 || b != (i+1)*100 {
					t.Fatalf("got positions %d and %d, want both %d", a, b, (i+1)*100)
				}
				cursor = last.Cursor
			}
			wantOnce(t, s, 500, fileA, fileB)
		})
	}
}

func TestMerge(t *testing.T) {
	whole := func(seq uint64, by string, behind int, ps ...delivery.Position) entry {
		e := entry{cursor: ps, sequence: seq, by: by, exact: behind < 0}
		if behind >= 0 {
			e.behind = uint64(behind)
		}
		return e
	}
	part := func(seq uint64, by string, p delivery.Position) entry {
		return entry{cursor: delivery.Cursor{p}, partial: true, sequence: seq, by: by}
	}
	a := func(n int) delivery.Position { return fileA.record(n - 1).End }
	b := func(n int) delivery.Position { return fileB.record(n - 1).End }
	for _, c := range []struct {
		name     string
		all      []entry
		from     uint64
		complete bool
		want     delivery.Cursor
		ok       bool
	}{
		{"exact", []entry{part(8, "x", a(1)), whole(9, "x", -1, a(2), b(7))}, 8, false, delivery.Cursor{a(2), b(7)}, true},
		{"parts behind it", []entry{whole(8, "x", -1, a(1), b(7)), part(9, "x", a(2)), part(10, "x", b(8))}, 8, false, delivery.Cursor{a(2), b(8)}, true},
		{"no whole one yet", []entry{part(8, "x", a(1))}, 8, false, nil, false},
		{"no whole one", []entry{part(8, "x", a(1)), part(9, "x", b(1))}, 1, true, delivery.Cursor{a(1), b(1)}, true},
		{"another one before it, which it does not know", []entry{part(5, "y", b(9)), whole(9, "x", 4, a(1), b(7))}, 3, false, delivery.Cursor{a(1), b(9)}, true},
		{"another one before it, which it knows", []entry{part(5, "y", b(6)), whole(9, "x", 5, a(1), b(7))}, 3, false, delivery.Cursor{a(1), b(7)}, true},
		{"its own before it", []entry{part(8, "x", b(6)), whole(9, "x", 4, a(1), b(7))}, 3, false, delivery.Cursor{a(1), b(7)}, true},
		{"it does not know far enough", []entry{whole(9, "x", 4, a(1), b(7))}, 6, false, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := merge(c.all, c.from, c.complete)
			if ok != c.ok || ok && !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, %v, want %v, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

// TestLastKnowsHowTheStreamIs when somebody has made it anew while the connection lasted.
func TestLastKnowsHowTheStreamIs(t *testing.T) {
	s := natstest.Start(t, natstest.Newest, natstest.Options{})
	c := connected(t, options(s))
	lastOf(t, c)
	if err := c.request(context.Background(), "STREAM.DELETE.S", struct{}{}, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	addStream(t, s, nats.StreamConfig{MaxMsgSize: 12345})
	lastOf(t, c)
	if got := c.config.MaxMsgSize; got != 12345 {
		t.Errorf("got a limit of %d for messages, want 12345", got)
	}
}
