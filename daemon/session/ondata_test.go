package session

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/sink"
)

// countedSink counts what it is given.
type countedSink struct {
	*fakeSink
	batches []string
}

func (s *countedSink) Gather(lines []byte, by sink.Giver) (sink.Ticket, error) {
	if len(lines) > 0 {
		s.batches = append(s.batches, string(lines))
	}
	return s.fakeSink.Gather(lines, by)
}

// onData runs a test with a fixture whose openings are held until there is data.
func onData(t *testing.T, change func(*config.Listener), test func(f *fixture)) {
	t.Helper()
	bubble(t, change, func(f *fixture) {
		f.config.Events = config.EventsOnData
		test(f)
	})
}

// TestAVisitWithoutDataLeavesNoRecord, however it ends, and no line above the debug level.
func TestAVisitWithoutDataLeavesNoRecord(t *testing.T) {
	for _, c := range []struct {
		name  string
		proxy bool
		visit func(f *fixture)
		quiet bool
	}{
		{"it closes", false, func(f *fixture) { f.sendEnd() }, true},
		{"it breaks off", false, func(f *fixture) { f.client.Break(errGone); synctest.Wait() }, true},
		{"it is drained", false, func(f *fixture) { f.enter(Draining); f.enter(Over) }, true},
		{"behind a proxy", true, func(f *fixture) { f.send(header); f.sendEnd() }, true},
		{"a proxy that sends nothing", true, func(f *fixture) { f.sendEnd() }, true},
		{"a faulty PROXY header", true, func(f *fixture) { f.send("GET / HTTP/1.1\r\n\r\n") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			onData(t, nil, func(f *fixture) {
				if c.proxy {
					f.config.Settings.Stages = []Stage{ProxyStage{}}
				}
				f.start()
				f.pass(time.Second)
				c.visit(f)
				<-f.ended
				f.recorded()
				if quiet := !strings.Contains(f.log.String(), "level=INFO"); quiet != c.quiet {
					t.Errorf("log: got %s, want no line above debug: %v", f.log.String(), c.quiet)
				}
				if got := f.env.Visits.Count(); got != 1 {
					t.Errorf("visits without data: got %d, want 1", got)
				}
			})
		})
	}
}

// TestAnOpeningIsRecordedWithTheFirstMessage, by the same write, and has its own time.
func TestAnOpeningIsRecordedWithTheFirstMessage(t *testing.T) {
	for _, c := range []struct {
		name  string
		sends []string
		want  []string // what the sink is given at a time
	}{
		{"a message", []string{"one\n"}, []string{"open|: one", "close: eof, 1 records, 4 bytes"}},
		{"messages", []string{"one\ntwo\n", "three\n"}, []string{"open|: one|: two", ": three", "close: eof, 3 records, 14 bytes"}},
		{"half a message, and the rest", []string{"on", "e\n"}, []string{"open|: one", "close: eof, 1 records, 4 bytes"}},
		{"half a message", []string{"on"}, []string{"open|[eof]: on", "close: eof, 1 records, 2 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onData(t, nil, func(f *fixture) {
				counted := &countedSink{fakeSink: f.sink}
				f.config.Settings.Sink = counted
				f.start()
				f.pass(time.Hour)
				f.send(c.sends...)
				f.sendEnd()
				f.over(time.Hour)
				var got []string
				for _, batch := range counted.batches {
					got = append(got, strings.Join(linesOf(batch), "|"))
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
				open := f.opened.UTC().Format("2006-01-02T15:04:05.000000Z")
				message := f.opened.Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z")
				if lines := strings.Split(counted.batches[0], "\n"); !strings.HasPrefix(lines[0], open+" open") || !strings.HasPrefix(lines[1], message) {
					t.Errorf("got %q, want the opening at %s and the message at %s", lines, open, message)
				}
			})
		})
	}
}

// TestBytesBetweenMessagesAreData.
func TestBytesBetweenMessagesAreData(t *testing.T) {
	onData(t, func(l *config.Listener) {
		l.Framing, l.Start, l.Delimiter = "delimited", config.Text("("), []config.Bytes{config.Text(")")}
	}, func(f *fixture) {
		f.start()
		f.send("noise")
		f.sendEnd()
		f.recorded("open", "close: eof, 0 records, 5 bytes")
	})
}

// TestAnUnrecordedProgramsVisitIsRecorded: nobody knows whether its client has sent anything.
func TestAnUnrecordedProgramsVisitIsRecorded(t *testing.T) {
	onData(t, func(l *config.Listener) { l.Record = false }, func(f *fixture) {
		f.start()
		f.recorded("open")
		f.sendEnd()
		f.recorded("open", "close: eof, 0 records, 0 bytes")
	})
}

// TestTheNextProcessKnowsWhetherTheOpeningIsRecorded.
func TestTheNextProcessKnowsWhetherTheOpeningIsRecorded(t *testing.T) {
	for _, sent := range []string{"", "half", "one\n"} {
		onData(t, nil, func(f *fixture) {
			slot := newSlot(t)
			f.config.Slot = slot
			f.start()
			f.pass(time.Minute)
			f.send(sent)
			if got, want := !slot.Opened().IsZero(), sent == "one\n"; got != want {
				t.Errorf("after %q: got a recorded opening: %v, want %v", sent, got, want)
			}
			if got := slot.Began(); !got.Equal(f.opened) {
				t.Errorf("after %q: opened at %v, want %v", sent, got, f.opened)
			}
			f.config.Slot = nil
		})
	}
}

// TestAResumedSessionIsOpenedOnce.
func TestAResumedSessionIsOpenedOnce(t *testing.T) {
	for _, c := range []struct {
		name   string
		resume Resume
		sends  string
		want   []string
	}{
		{"held, and nothing comes", Resume{Greeted: true}, "", nil},
		{"held, and a message comes", Resume{Greeted: true}, "one\n", []string{"open", ": one", "close: eof, 1 records, 4 bytes"}},
		{"recorded, and nothing comes", Resume{Greeted: true, Opened: true, Offset: 4, Records: 1, Counted: 4}, "", []string{"close: eof, 1 records, 4 bytes"}},
		{"recorded, and a message comes", Resume{Greeted: true, Opened: true, Offset: 4, Records: 1, Counted: 4}, "two\n", []string{": two", "close: eof, 2 records, 8 bytes"}},
		{"held, with the beginning of a message", Resume{Greeted: true, Moved: []byte("on")}, "e\n", []string{"open", ": one", "close: eof, 1 records, 4 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			onData(t, nil, func(f *fixture) {
				f.config.Resume, f.config.Staged = &c.resume, true
				f.start()
				f.send(c.sends)
				f.sendEnd()
				f.recorded(c.want...)
			})
		})
	}
}
