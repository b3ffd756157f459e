package text

import "strings"

// Colour makes text stand out at a terminal. Its value is the parameter of SGR (ECMA-48, 8.3.117).
type Colour string

// The colours in use. Plain is none.
const (
	Plain   Colour = ""
	Bold    Colour = "1"
	Faint   Colour = "2"
	Reverse Colour = "7"
	Red     Colour = "1;31"
	Green   Colour = "32"
	Yellow  Colour = "33"
)

// Painter reports whether text may be coloured.
type Painter bool

// Paint returns s in a colour, if it may be coloured.
func (p Painter) Paint(c Colour, s string) string {
	if !p || c == Plain || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// Column is a column of a Table.
type Column struct {
	Title string
	Right bool // numbers end at the same place
}

// Left returns a column of words, which begin at the same place.
func Left(title string) Column { return Column{Title: title} }

// Right returns a column of numbers, which end at the same place.
func Right(title string) Column { return Column{Title: title, Right: true} }

// Cell is a place in a row of a Table.
type Cell struct {
	Text   string
	Colour Colour
}

// Table is text in columns. Each column is as wide as the widest text in it, and the last one has
// no blanks at its end.
type Table struct {
	columns []Column
	widths  []int
	rows    []row
}

// row is a row of cells, or a note that takes a whole line.
type row struct {
	cells []Cell
	note  Cell
}

// NewTable returns a table without rows.
func NewTable(columns ...Column) *Table {
	t := &Table{columns: columns, widths: make([]int, len(columns))}
	for i, c := range columns {
		t.widths[i] = len(c.Title)
	}
	return t
}

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// Row adds a row, which has a cell for each column. The table keeps cells, in ASCII.
func (t *Table) Row(cells ...Cell) {
	for i := range cells {
		cells[i].Text = ASCII(cells[i].Text)
		t.widths[i] = max(t.widths[i], len(cells[i].Text))
	}
	t.rows = append(t.rows, row{cells: cells})
}

// Note adds a line below the last row, indented by two blanks.
func (t *Table) Note(c Colour, s string) {
	t.rows = append(t.rows, row{note: Cell{Text: "  " + Prose(s), Colour: c}})
}

// Lines returns the title and the rows.
func (t *Table) Lines(p Painter) []string {
	lines := make([]string, 0, len(t.rows)+1)
	titles := make([]Cell, len(t.columns))
	for i, c := range t.columns {
		titles[i].Text = c.Title
	}
	lines = append(lines, p.Paint(Bold, t.line(titles, false)))
	for _, r := range t.rows {
		if r.cells == nil {
			lines = append(lines, p.Paint(r.note.Colour, r.note.Text))
			continue
		}
		lines = append(lines, t.line(r.cells, p))
	}
	return lines
}

// line returns a row.
func (t *Table) line(cells []Cell, p Painter) string {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		blanks := strings.Repeat(" ", t.widths[i]-len(c.Text))
		if t.columns[i].Right {
			b.WriteString(blanks)
		}
		b.WriteString(p.Paint(c.Colour, c.Text))
		if !t.columns[i].Right && i < len(cells)-1 {
			b.WriteString(blanks)
		}
	}
	return b.String()
}
