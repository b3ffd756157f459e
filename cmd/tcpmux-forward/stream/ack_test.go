package stream

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// TestAnswersThatNobodyHasAskedFor change nothing, whatever a server makes of their subjects.
func TestAnswersThatNobodyHasAskedFor(t *testing.T) {
	a := acks{inbox: "_INBOX.x.", wake: make(chan struct{}, 1)}
	a.expect(7, 2)
	for _, number := range []string{"", "x", "-1", "0", "6", "9", "9223372036854775815", "18446744073709551615", "99999999999999999999"} {
		a.take(&nats.Msg{Subject: a.inbox + number, Data: []byte(`{"seq":5}`)})
	}
	if a.count != 0 {
		t.Errorf("got %d answers, want none", a.count)
	}
	a.take(&nats.Msg{Subject: a.inbox + "8", Data: []byte(`{"seq":5}`)})
	if a.count != 1 {
		t.Errorf("got %d answers, want one", a.count)
	}
}
