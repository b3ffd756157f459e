package worker

import (
	"strings"
	"testing"
)

func TestDueAcknowledgementsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name   string
		flags  string // of messages, with spaces between them; "-" is none
		pieces int64  // of the checkpoint
		want   int64
	}{
		{"nothing", "", 0, 0},
		{"messages", "- -", 0, 2},
		{"the last one of a stream", "- eof", 0, 2},
		{"pieces of a message", "cut cut", 20, 0},
		{"the last piece", "cut cut", 0, 1},
		{"a message behind the last piece", "cut cut - cut", 5, 2},
		{"unfinished", "- timeout", 0, 1},
		{"none", "- malformed", 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d dueAcks
			for _, flag := range strings.Fields(c.flags) {
				d.add(strings.Trim(flag, "-"))
			}
			if got := d.sent(c.pieces); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if got := d.sent(c.pieces); got != 0 {
				t.Errorf("once more: got %d, want 0", got)
			}
		})
	}
}
