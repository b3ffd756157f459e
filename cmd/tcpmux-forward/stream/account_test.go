package stream

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tcpmux/cmd/tcpmux-forward/natstest"
)

// TestTheAccountIsFull for one record, and not for those behind it, which are smaller: none of them
// is stored without it.
func TestTheAccountIsFull(t *testing.T) {
	limited := natstest.Options{Config: "accounts { A { jetstream { max_file: 400000 }, users: [ { user: a, password: a } ] } }\nno_auth_user: a"}
	each(t, limited, func(t *testing.T, m mode, s *natstest.Server) {
		if m.batches {
			t.Skip("the server stores a part of the batch")
		}
		opt := options(s)
		opt.Forward.MaxBytes = 0
		c := connected(t, opt)
		if got := strings.Join(c.Info().Warnings, "\n"); strings.Contains(got, "--max-bytes") != (m.version == "2.10") {
			t.Errorf("got warnings %q, want how to be fast on a server 2.10", got)
		}
		lastOf(t, c)
		b := batchOf(0, 500, nil, fileA)
		b.Records[300].Line = make([]byte, 390_000)
		_, err := c.Publish(context.Background(), b)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind == Refused {
			t.Errorf("got error %v, want one that passes", err)
		}
		const want = 300
		if got := fileA.at(lastOf(t, c).Cursor); got != want {
			t.Errorf("got %d records, want %d", got, want)
		}
		wantOnce(t, s, want, fileA)
		if _, err := c.Publish(context.Background(), batchOf(want, 20, b.Cursor, fileA)); err != nil {
			t.Errorf("records that there is room for: %v", err)
		}
		wantOnce(t, s, want+20, fileA)
	})
}
