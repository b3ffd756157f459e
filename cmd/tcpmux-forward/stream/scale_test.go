package stream

import (
	"context"
	"testing"
	"time"

	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/internal/await"
)

// TestAStreamGetsReplicas while it is published to, over the same connection: they have what was
// acknowledged.
func TestAStreamGetsReplicas(t *testing.T) {
	servers := natstest.StartCluster(t, natstest.Newest, natstest.Options{})
	opt := options(servers[0])
	opt.Timeout = 2 * time.Second // who is asked while a leader is chosen may not answer
	connect := func() (c *Conn) {
		await.Until(t, func() (ok bool) {
			var err error
			c, err = Connect(context.Background(), opt)
			return err == nil
		}, func() { t.Error("the stream cannot be reached") })
		t.Cleanup(c.Close)
		return c
	}
	c := connect()
	lastOf(t, c)
	first := batchOf(0, 50, nil, fileA)
	publish(t, c, first)
	cfg := c.config
	cfg.Replicas = 3
	await.Until(t, func() bool {
		return c.request(context.Background(), "STREAM.UPDATE.S", cfg, &struct{}{}) == nil
	}, func() { t.Error("the stream gets no replicas") })
	awaitReplicas(t, c)
	publish(t, c, batchOf(50, 50, first.Cursor, fileA))
	awaitReplicas(t, c)
	leader := natstest.Leader(t, servers, "S")
	leader.Kill()
	opt.Forward.Servers = nil
	for _, s := range servers {
		if s != leader {
			opt.Forward.Servers = append(opt.Forward.Servers, s.URL)
		}
	}
	var last Last
	await.Until(t, func() bool {
		var err error
		last, err = connect().Last(context.Background())
		return err == nil
	}, func() { t.Error("the stream has no leader") })
	if got := fileA.at(last.Cursor); got != 100 {
		t.Errorf("got %d records where another server leads, want 100", got)
	}
}

// awaitReplicas waits until two replicas have what the leader of the stream has.
func awaitReplicas(t *testing.T, c *Conn) {
	t.Helper()
	await.Until(t, func() bool {
		info, err := c.streamInfo(context.Background())
		if err != nil || info.Cluster == nil || info.Cluster.Leader == "" {
			return false
		}
		current := 0
		for _, r := range info.Cluster.Replicas {
			if r.Current && r.Lag == 0 {
				current++
			}
		}
		return current == 2
	}, func() { t.Error("the replicas are not current") })
}
