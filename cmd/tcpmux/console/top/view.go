package top

import (
	"fmt"
	"slices"
	"strings"

	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux/console/view"
	"tcpmux/daemon/control/api"
)

// line is a line of the screen: printable ASCII, not longer than the screen is wide.
type line struct {
	text   string
	colour text.Colour
}

// view returns the screen, with height lines.
func (m *model) view(width, height int) []line {
	if width < 1 || height < 1 {
		return nil
	}
	lines := m.head(height)
	switch foot := m.foot(); {
	case height == 1:
	case m.mode == inHelp:
		lines = body(lines, helpLines(), height-1, foot)
	case m.mode == inDetail, m.mode == inConfirm && m.back == inDetail:
		lines = body(lines, m.detailLines(), height-1, foot)
	default:
		lines = append(lines, m.middle(height-len(lines)-1, width)...)
		lines = body(lines, nil, height-1, foot)
	}
	for i := range lines {
		lines[i].text = clip(text.ASCII(lines[i].text), width)
	}
	return lines[:min(height, len(lines))]
}

// body adds lines, and fills up with empty ones to a height, below which the foot comes.
func body(lines, more []line, height int, foot line) []line {
	lines = append(lines, more...)
	if len(lines) > height {
		lines = lines[:height]
	}
	for len(lines) < height {
		lines = append(lines, line{})
	}
	return append(lines, foot)
}

// clip cuts ASCII to a width, and shows that it does.
func clip(s string, width int) string {
	if len(s) <= width {
		return s
	}
	return s[:width-1] + "~"
}

// head returns the lines about the daemon, as many as a screen of that height has room for.
func (m *model) head(height int) []line {
	s := &m.status
	title := fmt.Sprintf("tcpmux %s  %s %s  clients %s  %s UTC", s.Version, s.Phase, text.Span(s.Now.Sub(s.Started)),
		view.Places(s.Clients, s.Limit), s.Now.UTC().Format("15:04:05"))
	if m.paused {
		title += "  PAUSED"
	}
	lines := []line{{title, text.Bold}}
	if height >= 4 {
		lines = append(lines, m.condition())
	}
	if height >= 8 {
		var sum api.Rates
		for _, l := range s.Listeners {
			sum.Visits, sum.Records, sum.Bytes = sum.Visits+l.Rates.Visits, sum.Records+l.Rates.Records, sum.Bytes+l.Rates.Bytes
		}
		lines = append(lines, line{text: fmt.Sprintf("records %s/s  bytes %s/s  visits %s/s", text.Rate(sum.Records), text.Size(int64(sum.Bytes)), text.Rate(sum.Visits))})
	}
	return lines
}

// condition returns what is wrong in one line.
func (m *model) condition() line {
	problems := slices.Concat(m.status.Problems, m.status.Unready)
	switch {
	case m.err != nil:
		return line{"NO ANSWER: " + m.err.Error(), text.Red}
	case len(problems) == 0:
		return line{"All is well.", text.Green}
	case len(problems) == 1:
		return line{"PROBLEM: " + problems[0], text.Red}
	}
	return line{fmt.Sprintf("%d PROBLEMS (tcpmux status), the first: %s", len(problems), problems[0]), text.Red}
}

// foot returns the last line: a question, a message, or the keys.
func (m *model) foot() line {
	switch {
	case m.mode == inConfirm:
		return line{fmt.Sprintf("Kill %s%s? y: yes, any other key: no", m.victim, m.addressOf(m.victim)), text.Red}
	case m.mode == inFilter:
		return line{"/" + m.typed + "_   Enter: filter, Esc: as before", text.Reverse}
	case m.message != "":
		return line{m.message, text.Reverse}
	case m.mode == inHelp:
		return line{"any key: back  q: quit", text.Reverse}
	case m.mode == inDetail:
		return line{"Esc: back  K: kill  q: quit", text.Reverse}
	}
	return line{"h: help  s: sort  /: filter  Enter: show  K: kill  p: pause  q: quit", text.Reverse}
}

// addressOf returns the address of a session's client in brackets.
func (m *model) addressOf(id string) string {
	for i := range m.all {
		if m.all[i].ID == id {
			return " (" + view.Peer(&m.all[i].Session) + ")"
		}
	}
	return ""
}

// middle returns the tables, in height lines.
func (m *model) middle(height, width int) []line {
	var lines []line
	if height >= 14 {
		lines = append(append(lines, line{}), m.listeners((height-8)/2)...)
	}
	if height >= 9 {
		lines = append(lines, m.busiest(width), line{})
	}
	return append(lines, m.sessions(height-len(lines), width)...)
}

// listeners returns the table of listeners in at most most lines.
func (m *model) listeners(most int) []line {
	list := m.status.Listeners
	more := len(list) - (most - 1)
	if more > 0 {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b api.Listener) int {
			if fault := strings.Compare(b.Fault, a.Fault); (a.Fault == "") != (b.Fault == "") {
				return fault
			}
			return int(max(-1, min(1, b.Rates.Bytes-a.Rates.Bytes)))
		})
		more++
		list = list[:most-2]
	}
	t := text.NewTable(text.Column{Title: "LISTENER"}, text.Column{Title: "CLIENTS", Right: true}, text.Column{Title: "VISITS/S", Right: true},
		text.Column{Title: "RECORDS/S", Right: true}, text.Column{Title: "BYTES/S", Right: true}, text.Column{Title: "REFUSED", Right: true}, text.Column{Title: "STATE"})
	for i := range list {
		l, refused := &list[i], int64(0)
		for _, n := range l.Counts.Refused {
			refused += n
		}
		t.Row(text.Cell{Text: l.Name}, text.Cell{Text: view.Places(l.Clients, l.Limit)}, text.Cell{Text: text.Rate(l.Rates.Visits)},
			text.Cell{Text: text.Rate(l.Rates.Records)}, text.Cell{Text: text.Size(int64(l.Rates.Bytes))}, text.Cell{Text: text.Count(refused)}, view.ListenerState(l))
	}
	lines := []line{}
	for i, s := range t.Lines(false) {
		lines = append(lines, line{text: s})
		if i > 0 {
			lines[i].colour = view.ListenerState(&list[i-1]).Colour
		}
	}
	lines[0].colour = text.Bold
	if more > 0 {
		lines = append(lines, line{text: fmt.Sprintf("and %d more", more)})
	}
	return lines
}

// busiest returns the busiest sources that fit on a line.
func (m *model) busiest(width int) line {
	s := "SOURCES "
	for i, src := range m.sources() {
		next := fmt.Sprintf(" %s %s/s (%d)", text.ASCII(src.host), text.Size(int64(src.rate)), src.clients)
		if i > 0 && len(s)+len(next) > width {
			break
		}
		s += next
	}
	return line{text: s}
}

// detailLines returns the detail of the selected session.
func (m *model) detailLines() []line {
	if m.detail == nil || m.detail.ID != m.selected {
		return []line{{}, {text: "asking for session " + m.selected}}
	}
	lines := []line{{}}
	for _, s := range view.Detail(m.detail, m.now, false) {
		lines = append(lines, line{text: s})
	}
	return lines
}

func helpLines() (lines []line) {
	for _, s := range []string{
		"",
		"Up Down j k      select a session       PgUp PgDn Home End g G   move",
		"Enter            show it                Esc                      back",
		"K                kill it, after y       p or Space               pause",
		"s S              next, previous order   r                        reverse it",
		"/                filter by text, address or network; Esc ends it",
		"Ctrl-L           draw again             q or Ctrl-D              quit",
		"",
		fmt.Sprintf("At most %d sessions are shown without a filter, those that sort first.", mostSessions),
		"Rates of listeners are averages of ten seconds, those of sessions since the",
		"last time the table was drawn.",
	} {
		lines = append(lines, line{text: s})
	}
	return lines
}
