package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listen takes what the daemon says, and does not wait for it.
func (d *dialogue) listen() {
	d.t.Helper()
	for {
		select {
		case text, ok := <-d.said:
			if !ok {
				d.t.Fatalf("got the end of the daemon and %q, want it to go on", d.seen)
			}
			d.seen += text
		default:
			return
		}
	}
}

// TestSignalsInAnUpgradeLoseNobody: reloads, reopenings and further upgrades asked for all the
// while.
func TestSignalsInAnUpgradeLoseNobody(t *testing.T) {
	signals := []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}
	for seed, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(1, uint64(seed)))
			k := withClients(t, 10, `model = "`+model+`"`)
			k.upgrade("msg=upgrading")
			// Until programs have taken the place twice.
			for strings.Count(k.d.seen, "inherited=false") < 2 {
				k.signal(signals[rnd.IntN(len(signals))])
				// Any moment is right.
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Microsecond)
				k.d.listen()
			}
			for i := range k.said {
				recorded(t, k.dir, fmt.Sprintf("client %d line %d\"", i, k.said[i].Load()+1))
			}
			k.closes()
		})
	}
}

// TestAStopAtARandomMomentOfAnUpgradeIsObeyed: clients are let finish, and all that they said is
// recorded once.
func TestAStopAtARandomMomentOfAnUpgradeIsObeyed(t *testing.T) {
	for seed := range 8 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(2, uint64(seed)))
			k := withClients(t, 5, "")
			k.upgrade("msg=upgrading")
			// Near the end of the trial, and the beginning of the next program.
			if seed%2 == 0 {
				k.d.hear("inherited=true")
				k.d.hear("msg=ready ")
				// The length of the trial, whose end nothing announces.
				time.Sleep(time.Second)
			}
			// Any moment is right.
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
			k.signal(syscall.SIGTERM)
			k.d.hear("msg=draining clients=5 ")
			close(k.over)
			k.talking.Wait()
			if status := k.d.ends(); status != 0 || !strings.Contains(k.d.seen, "msg=drained") {
				t.Errorf("got status %d and %q, want 0 and all drained", status, k.d.seen)
			}
			k.whole()
		})
	}
}
