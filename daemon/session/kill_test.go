package session

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/state"
)

// kill has an administrator end the session.
func (f *fixture) kill() {
	f.t.Helper()
	if !f.Kill() {
		f.t.Error("kill: got false, want true")
	}
	synctest.Wait()
}

// TestAKilledSessionRecordsWhatHasArrived, and waits for no more, whatever it waits for.
func TestAKilledSessionRecordsWhatHasArrived(t *testing.T) {
	banner := func(l *config.Listener) { l.Banner = config.Text("hello\n") }
	acks := func(l *config.Listener) { l.Ack = config.Text("ok\n") }
	proxied := func(f *fixture) { f.config.Settings.Stages = []Stage{ProxyStage{}} }
	for _, c := range []struct {
		name   string
		change func(*config.Listener)
		set    func(*fixture)
		sent   string
		state  State
		want   []string
	}{
		{"the client is silent", nil, nil, "", ForClient, []string{"close: killed, 0 records, 0 bytes"}},
		{"half a message", nil, nil, "one\nhalf", ForClient, []string{": one", "[timeout]: half", "close: killed, 2 records, 8 bytes"}},
		{"its banner is not taken", banner, func(f *fixture) { f.client.SetRoom(2) }, "one\n", ForGreeted,
			[]string{": one", "close: killed, 1 records, 4 bytes"}},
		{"its acknowledgements are not taken", acks, func(f *fixture) { f.client.SetRoom(2) }, "one\n", ForAck,
			[]string{": one", "close: killed, 1 records, 4 bytes"}},
		{"a PROXY header is to come", nil, proxied, "PROXY ", ForHeader, []string{"close: killed, 0 records, 0 bytes"}},
		{"it drains", nil, func(f *fixture) { f.Enter(Draining) }, "one\nhalf", ForClient,
			[]string{": one", "[timeout]: half", "close: killed, 2 records, 8 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, c.change, func(f *fixture) {
				early := c.name != "it drains"
				if c.set != nil && early {
					c.set(f)
				}
				f.start()
				if !early {
					c.set(f)
				}
				f.send(c.sent)
				f.pass(time.Second)
				if got := f.Summary().State; got != c.state {
					t.Errorf("waits for %v, want %v", got, c.state)
				}
				f.kill()
				f.over(time.Second)
				f.recorded(append([]string{"open"}, c.want...)...)
				if l := f.log.String(); !strings.Contains(l, "reason=killed ") {
					t.Errorf("log: got %q, want the reason", l)
				}
			})
		})
	}
}

// TestAKilledSessionWaitsForItsSink: what it has given to that, and what has arrived, is recorded
// once that is possible.
func TestAKilledSessionWaitsForItsSink(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		f.sink.hold()
		f.send("one\n", "two\n")
		if i := f.Info(); i.State != ForSink {
			t.Errorf("waits for %v, want the sink", i.State)
		}
		f.kill()
		f.served()
		f.kill() // again
		f.sink.resume()
		synctest.Wait()
		f.over(0)
		f.recorded("open", ": one", ": two", "close: killed, 2 records, 8 bytes")
	})
}

// TestWhatLeavesOrIsOverIsNotKilled: the one goes on with the next process, the other has a reason.
func TestWhatLeavesOrIsOverIsNotKilled(t *testing.T) {
	for phase, want := range map[Phase]string{Leaving: "open", Over: "open|close: drain, 0 records, 0 bytes"} {
		bubble(t, nil, func(f *fixture) {
			f.start()
			f.Enter(phase)
			if f.Kill() {
				t.Errorf("phase %v: got true, want false", phase)
			}
			synctest.Wait()
			f.over(0)
			f.recorded(strings.Split(want, "|")...)
		})
	}
}

// TestASessionThatWasKilledBeforeIsOnlyEnded by the next process, with what has arrived.
func TestASessionThatWasKilledBeforeIsOnlyEnded(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.config.Killed, f.config.Staged = true, true
		f.config.Resume = &Resume{Greeted: true, Opened: true, Offset: 4, Records: 1}
		f.client.Send("two\nhalf")
		f.start()
		f.over(0)
		f.recorded(": two", "[timeout]: half", "close: killed, 3 records, 12 bytes")
	})
}

// TestTheNextProcessKnowsThatASessionIsKilled until its end is recorded, and never after that: the
// slot is another session's by then.
func TestTheNextProcessKnowsThatASessionIsKilled(t *testing.T) {
	file, err := state.New(2)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	bubble(t, nil, func(f *fixture) {
		slot := file.Take(1)
		f.config.Slot, f.config.Keep = slot, keeping{false, func() {}}
		f.start()
		f.sink.hold()
		f.send("one\n")
		f.kill()
		if !slot.Killed() {
			t.Error("while the sink hangs: got a slot that is not killed")
		}
		f.sink.resume()
		synctest.Wait()
		f.over(0)
		if slot.Killed() {
			t.Error("after the end: got a slot that is killed")
		}
	})
	bubble(t, nil, func(f *fixture) {
		slot := file.Take(2)
		f.config.Slot, f.config.Keep = slot, keeping{false, func() {}}
		f.start()
		f.sendEnd()
		f.over(0)
		if f.Kill() || slot.Killed() {
			t.Error("killed after its end: got it killed")
		}
	})
}

// TestASessionShowsWhatIsRecorded, and not what waits for the sink.
func TestASessionShowsWhatIsRecorded(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.start()
		if i := f.Summary(); !i.Heard.IsZero() || i.ID != "0-1" || i.Remote != peer.String() || !i.Opened.Equal(f.opened) {
			t.Errorf("got %+v, want a session that has sent nothing", i)
		}
		f.pass(time.Minute)
		f.send("one\ntwo\nhalf")
		heard := time.Now().Truncate(time.Microsecond)
		f.pass(time.Minute)
		if i := f.Detail(); i.Records != 2 || i.Partial != 4 {
			t.Errorf("got %+v, want 2 records, and 4 bytes of the next", i)
		}
		f.sink.hold()
		f.send(" a line\n")
		i := f.Detail()
		if i.Records != 2 || i.Bytes != 8 || i.State != ForSink || i.Phase != Serving {
			t.Errorf("got %+v, want 2 records of 8 bytes, and that it waits for the sink", i)
		}
		f.sink.resume()
		synctest.Wait()
		i = f.Detail()
		if i.Records != 3 || i.Bytes != 20 || i.Partial != 0 || i.State != ForClient || !i.Heard.Equal(heard.Add(time.Minute)) {
			t.Errorf("got %+v, want 3 records of 20 bytes, heard at %v", i, heard.Add(time.Minute))
		}
	})
}

// TestAProxysClientIsShown while its session goes on.
func TestAProxysClientIsShown(t *testing.T) {
	bubble(t, nil, func(f *fixture) {
		f.config.Settings.Stages = []Stage{ProxyStage{}}
		f.start()
		f.send("PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n")
		if i := f.Summary(); i.Remote != "192.0.2.1:1234" || i.Proxy != peer.String() {
			t.Errorf("got %q by %q, want 192.0.2.1:1234 by %v", i.Remote, i.Proxy, peer)
		}
	})
}
