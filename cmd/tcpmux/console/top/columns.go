package top

import (
	"fmt"
	"strings"
	"time"

	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux/console/view"
)

// column is a column of the table of sessions.
type column struct {
	title string
	width int // at least
	right bool
	drop  int // when there is no room: the highest first; 0: never
	cell  func(m *model, s *session) string
}

// The widths of names and addresses are those of what is shown, up to these.
const (
	widestID       = 32 // no two are the same only at their ends
	widestListener = 16
	widestRemote   = 47 // an IPv6 address with its port
)

func allColumns() []column {
	return []column{
		{"ID", 4, false, 0, func(_ *model, s *session) string { return s.ID }},
		{"LISTENER", 8, false, 5, func(_ *model, s *session) string { return s.Listener }},
		{"REMOTE", 9, false, 0, func(_ *model, s *session) string { return s.Remote }},
		{"IDLE", 6, true, 3, func(m *model, s *session) string {
			return text.Span(view.Idle(&s.Session, m.now).Truncate(time.Second))
		}},
		{"REC/S", 5, true, 2, func(_ *model, s *session) string { return text.Rate(s.recordsRate) }},
		{"BYTES/S", 8, true, 1, func(_ *model, s *session) string { return text.Size(int64(s.bytesRate)) }},
		{"RECORDS", 7, true, 6, func(_ *model, s *session) string { return text.Count(s.Records) }},
		{"BYTES", 8, true, 4, func(_ *model, s *session) string { return text.Size(s.Bytes) }},
		{"STATE", 6, false, 3, func(_ *model, s *session) string { return view.State(&s.Session).Text }},
	}
}

// mark is in front of the selected session, and as wide as in front of others.
const mark = "> "

// sessions returns the table of sessions in height lines, and moves it so that the selected one is
// on it.
func (m *model) sessions(height, width int) []line {
	var lines []line
	if height >= 4 {
		lines = append(lines, line{text: m.sessionsTitle()})
	}
	m.rows = max(0, height-len(lines)-1)
	m.scroll()
	shown := m.list[m.first:min(len(m.list), m.first+m.rows)]
	table := make([][]string, len(shown))
	columns := m.fit(shown, table, width)
	if height > 0 {
		titles := make([]string, len(columns))
		for i, c := range columns {
			titles[i] = c.title
		}
		lines = append(lines, line{"  " + joined(columns, titles), text.Bold})
	}
	for i := range shown {
		l := line{"  " + joined(columns, table[i]), view.State(&shown[i].Session).Colour}
		if shown[i].ID == m.selected {
			l = line{mark + l.text[len(mark):], text.Reverse}
		}
		lines = append(lines, l)
	}
	return lines
}

// sessionsTitle says which sessions are shown, and in which order.
func (m *model) sessionsTitle() string {
	s := fmt.Sprintf("SESSIONS %d of %d, by %s", len(m.list), max(m.answer.sessions.Total, len(m.all), m.status.Clients), orders[m.order].name)
	if m.reversed {
		s += ", reversed"
	}
	if m.filter != "" {
		s += ", with " + m.filter
	}
	return s
}

// scroll moves the table so that the selected session is on it.
func (m *model) scroll() {
	if at := m.index(); at >= 0 {
		m.first = max(min(m.first, at), at-m.rows+1)
	}
	m.first = max(0, min(m.first, len(m.list)-m.rows))
}

// fit returns the columns that there is room for, and fills table with the cells of the sessions.
func (m *model) fit(shown []session, table [][]string, width int) []column {
	columns := allColumns()
	most := map[string]int{"ID": widestID, "LISTENER": widestListener, "REMOTE": widestRemote}
	for i := range columns {
		c := &columns[i]
		for k := range shown {
			if limit := most[c.title]; limit > 0 {
				c.width = max(c.width, min(limit, len(text.ASCII(c.cell(m, &shown[k])))))
			}
		}
	}
	columns = without(columns, width-len(mark))
	for k := range shown {
		table[k] = make([]string, len(columns))
		for i, c := range columns {
			table[k][i] = text.ASCII(c.cell(m, &shown[k]))
		}
	}
	return columns
}

// without drops columns until the others fit.
func without(columns []column, width int) []column {
	for {
		sum, last := -1, -1
		for i, c := range columns {
			sum += c.width + 1
			if c.drop > 0 && (last < 0 || c.drop > columns[last].drop) {
				last = i
			}
		}
		if sum <= width || last < 0 {
			return columns
		}
		columns = append(columns[:last:last], columns[last+1:]...)
	}
}

// joined returns a row.
func joined(columns []column, cells []string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		if c.right {
			parts[i] = fmt.Sprintf("%*s", c.width, cells[i])
		} else {
			parts[i] = fmt.Sprintf("%-*s", c.width, clip(cells[i], c.width))
		}
	}
	return strings.TrimRight(strings.Join(parts, " "), " ")
}
