package top

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
)

// shown returns the IDs in the list.
func shown(m *model) string {
	var ids []string
	for _, s := range m.list {
		ids = append(ids, strings.TrimPrefix(s.ID, "8f3a-"))
	}
	return strings.Join(ids, " ")
}

func TestSorting(t *testing.T) {
	m := watched()
	for _, c := range []struct{ key, order, want, ask string }{
		{"", "bytes/s", "1 2 0", "-heard"}, {"r", "bytes/s", "0 2 1", "heard"}, {"s", "records/s", "1 2 0", "-heard"}, {"s", "bytes", "1 2 0", "-bytes"},
		{"s", "records", "1 2 0", "-records"}, {"s", "idle", "2 1 0", "heard"}, {"s", "newest", "0 1 2", "-opened"}, {"s", "remote", "0 1 2", "remote"},
		{"r", "remote", "2 0 1", "-remote"}, {"s", "bytes/s", "1 2 0", "-heard"}, {"S", "remote", "0 1 2", "remote"},
	} {
		m.key(c.key)
		if got := shown(m); got != c.want || orders[m.order].name != c.order || m.question().filter.Sort != c.ask || m.question().filter.Limit != mostSessions {
			t.Errorf("after %q: got %s by %s, asking for %+v, want %s by %s, asking for %s", c.key, got, orders[m.order].name, m.question().filter, c.want, c.order, c.ask)
		}
	}
}

func TestFiltering(t *testing.T) {
	for _, c := range []struct {
		typed, want string
		source      string
		limit       int
	}{
		{"192.0.2.0", "1 0", "192.0.2.0", mostSessions}, {"192.0.2.0/31", "1 2 0", "192.0.2.0/31", mostSessions}, {"8f3a-2", "2", "", 0}, {"tcpmux", "1 2 0", "", 0},
		{"nobody", "", "", 0}, {"", "1 2 0", "", mostSessions},
	} {
		m := watched()
		m.key("/")
		for _, r := range c.typed + "x" {
			m.key(string(r))
		}
		m.key(keyBackspace)
		if got := m.key(keyEnter); got != ask || shown(m) != c.want {
			t.Errorf("%q: got %s and action %d, want %s and a question", c.typed, shown(m), got, c.want)
		}
		if f := m.question().filter; f.Source != c.source || f.Limit != c.limit {
			t.Errorf("%q: got %+v asked for, want source %q and limit %d", c.typed, f, c.source, c.limit)
		}
		if m.key(keyEscape); shown(m) != "1 2 0" {
			t.Errorf("%q: got %s after Escape, want all", c.typed, shown(m))
		}
	}
}

func TestKillingNeedsAYes(t *testing.T) {
	for _, c := range []struct {
		name string
		keys []string
		want action // of the last
		who  string
	}{
		{"nobody is selected", []string{"K"}, nothing, ""},
		{"yes", []string{"j", "K", "y"}, kill, "8f3a-1"},
		{"no", []string{"j", "K", "n"}, nothing, "8f3a-1"},
		{"enter is no", []string{"j", "K", keyEnter}, nothing, "8f3a-1"},
		{"from the detail", []string{"j", keyEnter, "K", "y"}, kill, "8f3a-1"},
		{"the next y is no yes", []string{"j", "K", "n", "y"}, nothing, "8f3a-1"},
		{"Ctrl-C", []string{"j", "K", keyInterrupt}, interrupt, "8f3a-1"},
	} {
		m, got := watched(), nothing
		for _, k := range c.keys {
			got = m.key(k)
		}
		if got != c.want || m.victim != c.who {
			t.Errorf("%s: got action %d for %q, want %d for %q", c.name, got, m.victim, c.want, c.who)
		}
	}
}

// TestTheVictimStaysTheSame although the table changes under the question.
func TestTheVictimStaysTheSame(t *testing.T) {
	m := watched()
	m.key("j")
	m.key("j")
	m.key("K")
	m.take(answer{now: noon.Add(time.Second), status: someStatus(), sessions: someSessions(9000, 4048, 3100)})
	if foot := m.foot().text; foot != "Kill 8f3a-2 (192.0.2.1:40312)? y: yes, any other key: no" {
		t.Errorf("got %q, want the session that was selected", foot)
	}
	if m.key("y"); m.victim != "8f3a-2" {
		t.Errorf("got %q, want the session that was selected", m.victim)
	}
	m.killed("8f3a-2", 1, nil)
	if got := m.foot().text; got != "killed 1 session (8f3a-2)" {
		t.Errorf("got %q, want what was done", got)
	}
	m.killed("8f3a-2", 0, errors.New("denied"))
	if got := m.foot().text; got != "not killed: denied" {
		t.Errorf("got %q, want why not", got)
	}
}

func TestDetail(t *testing.T) {
	m := watched()
	m.key("j")
	if got := m.key(keyEnter); got != ask || m.question().detail != "8f3a-1" {
		t.Errorf("got action %d and %+v, want a question about 8f3a-1", got, m.question())
	}
	if got := screenOf(m, 80, 24); !strings.Contains(got, "asking for session 8f3a-1") {
		t.Errorf("got\n%s\nwant that it is being asked for", got)
	}
	a := answer{asked: "8f3a-1", now: noon, status: someStatus(), sessions: someSessions(1, 2, 3), detail: &api.Detail{Session: api.Session{ID: "8f3a-1"}}}
	m.take(a)
	if got := screenOf(m, 80, 24); !strings.Contains(got, "\nSession 8f3a-1\n") {
		t.Errorf("got\n%s\nwant the session", got)
	}
	a.detail = nil
	m.take(a)
	if got := screenOf(m, 80, 24); !strings.Contains(got, "\nSession 8f3a-1\n") || !strings.HasSuffix(got, "session 8f3a-1 has ended") {
		t.Errorf("got\n%s\nwant what was last known, and that it has ended", got)
	}
	if m.key(keyEscape); m.mode != inList {
		t.Errorf("got mode %d, want the list", m.mode)
	}
}

// TestTheSelectedSessionStays, although it is no longer among those that sort first, until it ends.
func TestTheSelectedSessionStays(t *testing.T) {
	m := watched()
	m.key("j")
	few := answer{asked: "8f3a-1", now: noon, status: someStatus(), sessions: someSessions(5), detail: &api.Detail{Session: someSessions(5, 6).Sessions[1]}}
	if m.take(few); shown(m) != "0 1" || m.selected != "8f3a-1" || m.index() < 0 {
		t.Errorf("got %s with %s selected, want 8f3a-1 still there", shown(m), m.selected)
	}
	m.key("j") // it is the last
	gone := answer{asked: "8f3a-1", now: noon, status: someStatus(), sessions: someSessions(5)}
	if m.take(gone); shown(m) != "0" || m.selected != "8f3a-0" || m.message != "" {
		t.Errorf("got %s with %s selected, want the one in its place", shown(m), m.selected)
	}
	before := answer{asked: "8f3a-1", now: noon, status: someStatus(), sessions: someSessions(5), detail: few.detail}
	if m.take(before); shown(m) != "0" || m.detail != nil {
		t.Errorf("got %s and %+v, want nothing of an answer about another session", shown(m), m.detail)
	}
}

// TestAnErrorLeavesWhatIsShown, so that a restart of the daemon does not empty the table.
func TestAnErrorLeavesWhatIsShown(t *testing.T) {
	m := watched()
	m.take(answer{err: errors.New("not running")})
	if shown(m) != "1 2 0" || m.status.Version != "0.3.0" {
		t.Errorf("got %s, want what was there", shown(m))
	}
	m.take(answer{now: noon.Add(time.Second), status: someStatus(), sessions: someSessions(0, 0, 0)})
	if m.err != nil || m.list[0].bytesRate != 0 {
		t.Errorf("got %v and a rate of %v, want none, as the counts are those of another process", m.err, m.list[0].bytesRate)
	}
}

func TestOtherKeys(t *testing.T) {
	for _, c := range []struct {
		key  string
		want action
	}{{"q", quit}, {keyInterrupt, interrupt}, {keySuspend, suspend}, {keyRedraw, redraw}, {"p", nothing}, {"h", nothing}, {"x", nothing}, {keyUp, nothing}} {
		m := watched()
		if got := m.key(c.key); got != c.want || m.paused != (c.key == "p") || (m.mode == inHelp) != (c.key == "h") {
			t.Errorf("%q: got action %d, paused %v, mode %d, want %d", c.key, got, m.paused, m.mode, c.want)
		}
	}
}

func TestNextKey(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"letters", "jK/", []string{"j", "K", "/"}},
		{"arrows", "\x1b[A\x1bOB", []string{keyUp, keyDown}},
		{"pages", "\x1b[5~\x1b[6~\x1b[1~\x1b[F", []string{keyPageUp, keyPageDown, keyHome, keyEnd}},
		{"escape", "\x1b", []string{keyEscape}},
		{"escape and a letter", "\x1bx", []string{keyEscape, "x"}},
		{"controls", "\x03\x1a\x0c\r\x7f\x04", []string{keyInterrupt, keySuspend, keyRedraw, keyEnter, keyBackspace, "q"}},
		{"without a meaning", "\x1b[1;5A\x01\x1b[", []string{}},
		{"letters of the world", "ä\xff", []string{"ä", "\xff"}},
	} {
		got, rest := []string{}, []byte(c.in)
		for len(rest) > 0 {
			var k string
			if k, rest = nextKey(rest); k != "" {
				got = append(got, k)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSources(t *testing.T) {
	m := watched()
	want := []source{{"192.0.2.0", 2, 2048}, {"192.0.2.1", 1, 100}}
	if got := m.sources(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
