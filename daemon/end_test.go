package daemon

import (
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/sink"
)

// ending returns a daemon around a server that is about to end, with little time for its clients.
func ending(f *servertest.Fixture) *daemon {
	return &daemon{
		cfg:     config.Config{DrainTimeout: 10 * time.Millisecond},
		log:     &logging.Log{Logger: f.Logger},
		manager: &notifier{log: f.Logger},
		records: &recordFiles{
			main:     &recordFile{sink: f.Sink, conditions: &conditions{log: f.Logger}},
			delivery: &deliveryState{log: f.Logger},
		},
		srv:   f.Server,
		ports: &ports{srv: f.Server, log: f.Logger},
	}
}

// TestASinkThatFailsToTheEndIsGivenUp: what it did not take is counted, and logged as an error.
func TestASinkThatFailsToTheEndIsGivenUp(t *testing.T) {
	t.Parallel() // it takes sinkGrace
	f := servertest.New(t, nil).Open()
	c := f.Greeted()
	c.Say("kept\n")
	f.AwaitRecords(": kept\n")
	f.Out.Fail(servertest.ErrDisk)
	c.Say("lost\nlost too\n")
	servertest.Eventually(t, f.Sink.Failing, func() { t.Error("the sink does not fail") })
	began := time.Now()
	ending(f).end(false)
	if took := time.Since(began); took < sinkGrace {
		t.Errorf("gave up after %v, want no sooner than %v", took, sinkGrace)
	}
	f.Log.Await(t, "reason=sink")
	want := []string{"level=ERROR", "reason=sink records=1 bytes=", "lost=2", sink.ErrClosed.Error()}
	if l := f.Log.Line("session closed"); !servertest.HoldsAll(l, want) {
		t.Errorf("log: got %q, want an error, the reason sink, and 2 lost", l)
	}
	if got := f.Server.Records(); got != 1 {
		t.Errorf("records: got %d, want 1", got)
	}
	if l := f.Log.Line("msg=drained"); !servertest.HoldsAll(l, []string{"level=WARN", "1 client did not finish in time", "records=1"}) {
		t.Errorf("log: got %q, want the drain's result", l)
	}
}
