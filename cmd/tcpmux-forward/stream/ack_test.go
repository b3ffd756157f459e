package stream

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestAnswersThatNobodyHasAskedFor change nothing, whatever a server makes of their subjects.
func TestAnswersThatNobodyHasAskedFor(t *testing.T) {
	a := acks{inbox: "_INBOX.x.", first: 7, wake: make(chan struct{}, 1)}
	a.begin(patience)
	if got, want := [2]string{a.ask(0), a.ask(9)}, [2]string{"_INBOX.x.7", "_INBOX.x.8"}; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	take := func(number, answer string) { a.take(&nats.Msg{Subject: a.inbox + number, Data: []byte(answer)}) }
	for _, number := range []string{"", "x", "-1", "0", "6", "9", "9223372036854775815", "18446744073709551615", "99999999999999999999"} {
		take(number, `{"seq":5}`)
	}
	take("8", `{"seq":15}`)
	if a.come != 0 {
		t.Errorf("got %d answers without a gap, want none", a.come)
	}
	take("7", `{"seq":6}`)
	take("7", `{"seq":1}`) // it was answered
	if got, want := a.extent(), (extent{least: 10, most: 10, first: 6, last: 15}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	a.begin(patience)
	a.ask(0)
	take("7", `{"seq":5}`)
	take("8", `{"seq":5}`)
	if a.come != 0 {
		t.Errorf("got an answer to what was forgotten, want none")
	}
}

// TestExtent of what is stored, by answers that come in any order.
func TestExtent(t *testing.T) {
	const refused = `{"error":{"err_code":10070,"description":"wrong last msg ID"}}`
	for _, c := range []struct {
		name    string
		answers []string // to messages 0, 4 and 9
		want    extent
	}{
		{"all", []string{`{"seq":11}`, `{"seq":15}`, `{"seq":20}`}, extent{least: 10, most: 10, first: 11, last: 20}},
		{"the first is refused", []string{refused, refused, refused}, extent{}},
		{"one behind the first", []string{`{"seq":11}`, refused, refused}, extent{least: 1, most: 4, first: 11, last: 11}},
		{"one of the last", []string{`{"seq":11}`, `{"seq":15}`, refused}, extent{least: 5, most: 9, first: 11, last: 15}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := acks{inbox: "_INBOX.x.", wake: make(chan struct{}, 1)}
			a.begin(patience)
			for _, index := range []int{0, 4, 9} {
				a.ask(index)
			}
			for i := range c.answers {
				number := len(c.answers) - 1 - i
				a.take(&nats.Msg{Subject: a.inbox + strconv.Itoa(number), Data: []byte(c.answers[number])})
			}
			got := a.extent()
			if stale := isStale(got.refusal); stale != (c.want.least < 10) {
				t.Errorf("got refusal %v", got.refusal)
			}
			got.refusal = nil
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
