package forward

import (
	"context"
	"strings"
	"testing"

	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/daemon/delivery"
)

// The stream of before is in parentheses, without the comma behind its description.
func TestAnotherStreamIsNamedWell(t *testing.T) {
	before := delivery.State{Sequence: 1, Stream: delivery.Stream{Name: "A"}}
	_, err := decide(context.Background(), before, stream.Last{Stream: delivery.Stream{Name: "B"}}, nil)
	if err == nil || !strings.Contains(err.Error(), `(stream "A", made 0001-01-01 00:00:00)`) {
		t.Errorf("decide says %v", err)
	}
}
