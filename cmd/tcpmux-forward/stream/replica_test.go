package stream

import (
	"context"
	"testing"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/internal/await"
)

// TestNoChainsOfIDsWithReplicas because each replica would check them by what it knows itself. A
// batch, or the sequence, is checked by the leader.
func TestNoChainsOfIDsWithReplicas(t *testing.T) {
	for _, version := range []string{"2.10", natstest.Newest} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			servers := natstest.StartCluster(t, version, natstest.Options{})
			opt := options(servers[0])
			opt.Forward.Replicas = 3
			var c *Conn
			var err error
			await.Until(t, func() bool { // not all servers may know each other yet
				c, err = Connect(context.Background(), opt)
				return err == nil
			}, func() { t.Errorf("the stream cannot be made: %v", err) })
			defer c.Close()
			lastOf(t, c)
			first := batchOf(0, 5, nil, fileA)
			publish(t, c, first)
			publish(t, c, batchOf(5, 5, first.Cursor, fileA))
			for _, m := range natstest.All(t, servers[0].Connect(), "S") {
				if got := m.Header.Get(headerLastID); got != "" || (m.Header.Get(headerSequence) != "") == (m.Header.Get(headerBatch) != "") {
					t.Errorf("message %d: got headers %q, want a sequence or a batch and no id before it", m.Sequence, m.Header)
				}
			}
			wantOnce(t, servers[0], 10, fileA)
		})
	}
}
