package natstest

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"tcpmux/internal/await"
)

// store publishes numbers to a stream, which it makes first.
func store(t *testing.T, nc *nats.Conn, replicas, from, to int) {
	t.Helper()
	js, err := nc.JetStream(nats.MaxWait(answer))
	if err != nil {
		t.Fatal(err)
	}
	// A cluster may be choosing a leader.
	ask := func(request func() error) {
		t.Helper()
		await.Until(t, func() bool { err = request(); return err == nil }, func() { t.Error(err) })
	}
	if from == 0 {
		ask(func() error {
			_, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: replicas})
			return err
		})
	}
	for i := from; i < to; i++ {
		number := fmt.Sprint(i)
		ask(func() error {
			_, err := js.Publish("s.x", []byte(number), nats.MsgId(number))
			return err
		})
	}
}

func wantAll(t *testing.T, nc *nats.Conn, n int) {
	t.Helper()
	all := All(t, nc, "S")
	if len(all) != n {
		t.Fatalf("got %d messages, want %d", len(all), n)
	}
	for i, m := range all {
		if m.Subject != "s.x" || string(m.Data) != fmt.Sprint(i) || m.Sequence != uint64(i+1) {
			t.Errorf("got message %+v, want the one with number %d", m, i)
		}
	}
}

func TestServerIsTheSameAfterAKill(t *testing.T) {
	for _, v := range Versions() {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			s := Start(t, v, Options{})
			nc := s.Connect(nats.NoReconnect())
			store(t, nc, 1, 0, 3)
			before := s.URL
			s.Restart()
			if s.URL != before {
				t.Errorf("got URL %q after the restart, want %q", s.URL, before)
			}
			nc = s.Connect()
			store(t, nc, 1, 3, 5)
			wantAll(t, nc, 5)
		})
	}
}

func TestClusterLosesItsLeader(t *testing.T) {
	servers := StartCluster(t, Newest, Options{})
	store(t, servers[0].Connect(nats.NoReconnect()), 3, 0, 3)
	leader := Leader(t, servers, "S")
	leader.Kill()
	var left []*Server
	for _, s := range servers {
		if s != leader {
			left = append(left, s)
		}
	}
	Leader(t, left, "S")
	nc := left[0].Connect()
	store(t, nc, 3, 3, 5)
	wantAll(t, nc, 5)
}
