package records

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"tcpmux/daemon/record"
)

// TestDigestOfAStretch comes from those of its beginning and its end.
func TestDigestOfAStretch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 3000)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	at := newRepeats().at
	of := func(b []byte) (d digest) {
		d.add(at, b)
		return d
	}
	for range 1000 {
		from := rnd.IntN(len(b) + 1)
		to := from + rnd.IntN(len(b)-from+1)
		got, want := of(b[:to]).since(at, of(b[:from])), of(b[from:to])
		if got != want {
			t.Fatalf("%d to %d: got %v, want %v", from, to, got, want)
		}
		if to > from {
			b[from]++
			if of(b[from:to]) == want {
				t.Fatalf("%d to %d: got the same digest of other bytes", from, to)
			}
		}
	}
}

// TestRepeatsThatOverlap in any way are told apart by what they say.
func TestRepeatsThatOverlap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		const size = 60
		stream := make([]byte, size)
		for i := range stream {
			stream[i] = byte('a' + rnd.IntN(26))
		}
		p, line := js().open(), 1
		for at := 0; at < size; {
			n := min(size-at, 1+rnd.IntN(10))
			p.say(int64(at), string(stream[at:at+n]), "", "")
			at, line = at+n, line+1
		}
		var want []string
		for last := -1; line < 30; line++ {
			from := rnd.IntN(size)
			if from == last { // it would go on with the stretch before
				from = 0
			}
			said := []byte(string(stream[from : from+1+rnd.IntN(size-from)]))
			if last = from + len(said); rnd.IntN(4) == 0 {
				said[rnd.IntN(len(said))]++
				want = append(want, fmt.Sprintf("%d: session 8f3a-2c: the bytes at offset %d to %d were recorded before", line+1, from, last))
			}
			p.say(int64(from), string(said), "", "")
		}
		if _, got := verified(t, p.String()); !match(got, want) {
			t.Fatalf("got %q, want %q of %s", got, want, p)
		}
	}
}

// TestManyRepeatsCostNoMoreThanTheirBytes: with one look at each for each message this would take
// minutes.
func TestManyRepeatsCostNoMoreThanTheirBytes(t *testing.T) {
	const n = 30000
	p := js()
	for i := range int64(n) {
		p.say(2*i, "a", "\n", "")
	}
	for i := range int64(n) {
		p.say(2*(n-1-i), "a", "\n", "")
	}
	sum, faults := verified(t, p.String())
	if !sum.Proven || sum.Repeated != n {
		t.Errorf("got %+v, %q, want %d messages recorded again", sum, faults, n)
	}
}

// TestRepeatsAreBounded, and those that are not compared are a fault.
func TestRepeatsAreBounded(t *testing.T) {
	rs := newRepeats()
	rs.most = 1
	v := &verifier{ledger: newLedger(), repeats: rs}
	var faults []string
	for i, offset := range []int64{0, 1, 2, 1, 0, 0} {
		s, known := v.session(&record.Source{Session: "8f3a-2c"})
		v.says(place{"1.log", i + 1}, s, known, &record.Message{Offset: offset, Raw: []byte("x")})
	}
	again := newRereader(rs)
	for offset := range int64(3) {
		again.record(place{}, &record.Record{Source: record.Source{Session: "8f3a-2c"}, Message: record.Message{Offset: offset, Raw: []byte("x")}})
	}
	rs.judge(func(at place, what string) { faults = append(faults, at.String()+": "+what) })
	if want := "1.log:5: so much is recorded again that it is not compared from here on, 2 times"; strings.Join(faults, "; ") != want {
		t.Errorf("got %q, want %q", faults, want)
	}
}
