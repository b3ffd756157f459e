package top

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/internal/text"
	"tcpmux/daemon/control/api"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// hostile is what must not reach a terminal.
const hostile = "\x1b[2J\r\n\u009b31m\u202e\u2028\xff"

// someStatus returns a status with two listeners.
func someStatus() api.Status {
	return api.Status{
		Version: "0.3.0", Started: noon.Add(-76 * time.Hour), Now: noon, Phase: "serving", Clients: 3, Limit: 10000,
		Listeners: []api.Listener{
			{Name: "tcpmux", Clients: 2, Limit: 100, Rates: api.Rates{Records: 12, Bytes: 1536, Visits: 0.1}, Counts: api.Counts{Refused: map[string]int64{"rate": 7}}},
			{Name: "clock", Clients: 1, Draining: true},
		},
	}
}

// someSessions returns three sessions, which have sent so much per session.
func someSessions(bytes ...int64) api.Sessions {
	list := api.Sessions{Total: 3}
	for i, n := range bytes {
		list.Sessions = append(list.Sessions, api.Session{
			ID: fmt.Sprintf("8f3a-%d", i), Listener: "tcpmux", Remote: fmt.Sprintf("192.0.2.%d:40312", i/2), Phase: "serving", State: "client",
			Opened: noon.Add(-time.Hour), Heard: noon.Add(time.Duration(-i) * time.Second), Records: n / 10, Bytes: n,
		})
	}
	return list
}

// watched returns a model after two answers.
func watched() *model {
	m := &model{}
	m.take(answer{now: noon.Add(-time.Second), status: someStatus(), sessions: someSessions(1000, 2000, 3000)})
	m.take(answer{now: noon, status: someStatus(), sessions: someSessions(1000, 4048, 3100)})
	return m
}

// screenOf returns what is shown.
func screenOf(m *model, width, height int) string {
	lines := m.view(width, height)
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.text
	}
	return strings.Join(texts, "\n")
}

func TestView(t *testing.T) {
	m := watched()
	m.key("j")
	for _, c := range []struct {
		name          string
		width, height int
		want          string
	}{
		{"usual", 80, 24, `tcpmux 0.3.0  serving 3d04h  clients 3/10000  12:00:00 UTC
All is well.
records 12/s  bytes 1.5 KiB/s  visits 0.1/s

LISTENER  CLIENTS  VISITS/S  RECORDS/S  BYTES/S  REFUSED  STATE
tcpmux      2/100       0.1         12  1.5 KiB        7  serving
clock           1         0          0      0 B        0  draining
SOURCES  192.0.2.0 2 KiB/s (2) 192.0.2.1 100 B/s (1)

SESSIONS 3 of 3, by bytes/s
  ID     LISTENER REMOTE            IDLE REC/S  BYTES/S RECORDS    BYTES STATE
> 8f3a-1 tcpmux   192.0.2.0:40312     1s   204    2 KiB     404  4.0 KiB client
  8f3a-2 tcpmux   192.0.2.1:40312     2s    10    100 B     310  3.0 KiB client
  8f3a-0 tcpmux   192.0.2.0:40312     0s     0      0 B     100   1000 B client









h: help  s: sort  /: filter  Enter: show  K: kill  p: pause  q: quit`},
		{"small", 40, 8, `tcpmux 0.3.0  serving 3d04h  clients 3/~
All is well.
records 12/s  bytes 1.5 KiB/s  visits 0~
SESSIONS 3 of 3, by bytes/s
  ID     REMOTE          REC/S  BYTES/S
> 8f3a-1 192.0.2.0:40312   204    2 KiB
  8f3a-2 192.0.2.1:40312    10    100 B
h: help  s: sort  /: filter  Enter: sho~`},
		{"tiny", 20, 3, `tcpmux 0.3.0  servi~
  ID   REMOTE
h: help  s: sort  /~`},
		{"a line", 10, 1, `tcpmux 0.~`},
		{"nothing", 0, 0, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := screenOf(m, c.width, c.height); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestViewFitsEveryTerminal: each size gets as many lines as it has, none longer than it is wide,
// and never more than a byte a column, in every mode and with every client.
func TestViewFitsEveryTerminal(t *testing.T) {
	for name, m := range map[string]*model{"empty": {}, "some": watched(), "hostile": poisoned()} {
		for _, mode := range []mode{inList, inDetail, inHelp, inFilter, inConfirm} {
			m.mode = mode
			for width := 1; width < 130; width += 3 {
				for height := 1; height < 45; height++ {
					lines := m.view(width, height)
					if len(lines) != height {
						t.Fatalf("%s, mode %d: got %d lines at %dx%d, want all", name, mode, len(lines), width, height)
					}
					for _, l := range lines {
						if len(l.text) > width || strings.ContainsFunc(l.text, func(r rune) bool { return r < 0x20 || r >= 0x7f }) {
							t.Fatalf("%s, mode %d: got %q at %dx%d, want printable ASCII that fits", name, mode, l.text, width, height)
						}
					}
				}
			}
		}
	}
}

// poisoned returns a model in which each name is hostile.
func poisoned() *model {
	m := &model{filter: hostile, typed: hostile, message: hostile, selected: hostile, victim: hostile}
	s := api.Session{ID: hostile, Listener: hostile, Remote: hostile, Proxy: hostile, Phase: "serving", State: hostile}
	st := someStatus()
	st.Version, st.Phase, st.Problems, st.Unready = hostile, hostile, []string{hostile}, []string{hostile}
	st.Listeners = []api.Listener{{Name: hostile, Fault: hostile}}
	m.take(answer{asked: hostile, now: noon, status: st, sessions: api.Sessions{Sessions: []api.Session{s}}, detail: &api.Detail{Session: s, Local: hostile, TCP: &api.TCP{State: hostile}}})
	m.take(answer{err: errors.New(hostile)})
	m.filter = ""
	m.arrange()
	return m
}

func TestViewSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name     string
		problems []string
		err      error
		want     string
	}{
		{"one", []string{"the disk is full"}, nil, "PROBLEM: the disk is full"},
		{"two", []string{"the disk is full", "x"}, nil, "2 PROBLEMS (tcpmux status), the first: the disk is full"},
		{"no answer", []string{"x"}, errors.New("not running"), "NO ANSWER: not running"},
	} {
		m, st := &model{}, someStatus()
		st.Problems = c.problems
		m.take(answer{now: noon, status: st})
		if c.err != nil {
			m.take(answer{err: c.err})
		}
		if got := m.view(80, 24)[1]; got != (line{c.want, text.Red}) {
			t.Errorf("%s: got %+v, want %q", c.name, got, c.want)
		}
	}
}

func TestManyListenersLeaveRoomForSessions(t *testing.T) {
	m, st := &model{}, someStatus()
	st.Listeners = nil
	for i := range 50 {
		st.Listeners = append(st.Listeners, api.Listener{Name: fmt.Sprintf("l%02d", i), Rates: api.Rates{Bytes: float64(i)}})
	}
	st.Listeners[7].Fault = "no socket"
	m.take(answer{now: noon, status: st, sessions: someSessions(1, 2, 3)})
	got := screenOf(m, 80, 24)
	if _, after, _ := strings.Cut(got, "LISTENER "); !strings.Contains(after, "\nl07 ") || !strings.Contains(after, "\nl49 ") || strings.Contains(after, "\nl01 ") ||
		!strings.Contains(after, " more\n") || !strings.Contains(after, "8f3a-2") {
		t.Errorf("got\n%s\nwant the listener with a fault, the busiest ones, how many more there are, and all sessions", got)
	}
}

func TestScrolling(t *testing.T) {
	m := &model{}
	m.take(answer{now: noon, status: someStatus(), sessions: someSessions(make([]int64, 100)...)})
	for _, c := range []struct {
		keys []string
		want string // is shown and selected
	}{
		{[]string{"G"}, "8f3a-99"}, {[]string{"k"}, "8f3a-98"}, {[]string{keyPageUp}, ""}, {[]string{"g"}, "8f3a-0"}, {[]string{keyPageDown, keyPageDown, keyPageDown}, ""}, {[]string{keyEnd, "j"}, "8f3a-99"},
	} {
		for _, k := range c.keys {
			m.key(k)
		}
		got := screenOf(m, 80, 24)
		if !strings.Contains(got, "\n> "+m.selected+" ") || c.want != "" && m.selected != c.want {
			t.Errorf("%q: got %q selected on\n%s\nwant %q there", c.keys, m.selected, got, c.want)
		}
	}
}
