package bench

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// WriteJSON writes r as one JSON object on a line.
func (r Result) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// WriteCSV writes r as comma-separated values: a header and a row.
func (r Result) WriteCSV(w io.Writer) error {
	return writeCSV(w, resultColumns, [][]string{r.row()})
}

// WriteTable writes r as a table to read.
func (r Result) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s clients%s%s\n", r.Workload, r.Address, thousands(float64(r.Clients)), lineSize(r.Size), r.ending())
	fmt.Fprintf(&b, "  %-10s%s in %.3f s\n", r.Unit, thousands(float64(r.Done)), r.Seconds)
	fmt.Fprintf(&b, "  %-10s%s/s%s\n", "rate", thousands(r.Rate), r.volume())
	fmt.Fprintf(&b, "  %-10s%s\n", "errors", errorList(r.Errors))
	if r.Latency.Count > 0 {
		r.Latency.table(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l Latency) table(b *strings.Builder) {
	fmt.Fprintf(b, "  %-10s%s\n", "latency", l.Of)
	for _, row := range []struct {
		name  string
		value float64
	}{{"least", l.Min}, {"mean", l.Mean}, {"50 %", l.P50}, {"90 %", l.P90}, {"99 %", l.P99}, {"99.9 %", l.P999}, {"most", l.Max}} {
		fmt.Fprintf(b, "    %-8s%12s\n", row.name, duration(row.value))
	}
}

func (r Result) ending() string {
	switch {
	case r.Ended == EndedByInterrupt:
		return " (interrupted)"
	case r.Ended == EndedByDuration && r.Unit != "clients": // an idle crowd always ends so
		return " (until the time was over)"
	}
	return ""
}

func lineSize(size int) string {
	if size == 0 {
		return ""
	}
	return fmt.Sprintf(", %d-byte lines", size)
}

func (r Result) volume() string {
	if r.Bytes == 0 {
		return ""
	}
	return fmt.Sprintf(", %.1f MB/s", float64(r.Bytes)/r.Seconds/1e6)
}

// errorList returns "none", or each kind with its count, the most frequent first.
func errorList(errors map[Kind]int64) string {
	if len(errors) == 0 {
		return "none"
	}
	var parts []string
	for _, k := range byCount(errors) {
		parts = append(parts, fmt.Sprintf("%s %s", k, thousands(float64(errors[k]))))
	}
	return strings.Join(parts, ", ")
}

func byCount(errors map[Kind]int64) []Kind {
	kinds := make([]Kind, 0, len(errors))
	for k := range errors {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b Kind) int {
		if errors[a] != errors[b] {
			return int(errors[b] - errors[a])
		}
		return strings.Compare(string(a), string(b))
	})
	return kinds
}

// Err returns an error about the clients that failed, or nil.
func (r Result) Err() error {
	n := r.Failed()
	if n == 0 {
		return nil
	}
	noun := "clients"
	if r.Unit == "visits" {
		noun = "visits"
	}
	hint := ""
	if r.Done == 0 && r.Errors[Refused] == n {
		hint = "; is the server running?"
	}
	if r.Done == 0 && r.Errors[Timeout] == n {
		hint = "; for a server that does not greet: --greeting=false"
	}
	return fmt.Errorf("bench %q: %s %s failed: %s%s", r.Address, thousands(float64(n)), noun, errorList(r.Errors), hint)
}

var resultColumns = []string{"workload", "address", "clients", "size", "ended", "seconds", "unit", "done", "rate", "bytes",
	"latency_of", "latency_count", "min_ms", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms", "failed", "errors"}

func (r Result) row() []string {
	l := r.Latency
	return []string{r.Workload, r.Address, strconv.Itoa(r.Clients), strconv.Itoa(r.Size), r.Ended, decimal(r.Seconds), r.Unit,
		strconv.FormatInt(r.Done, 10), decimal(r.Rate), strconv.FormatInt(r.Bytes, 10), l.Of, strconv.FormatInt(l.Count, 10),
		decimal(l.Min), decimal(l.Mean), decimal(l.P50), decimal(l.P90), decimal(l.P99), decimal(l.P999), decimal(l.Max),
		strconv.FormatInt(r.Failed(), 10), errorList(r.Errors)}
}

func writeCSV(w io.Writer, header []string, rows [][]string) error {
	return csv.NewWriter(w).WriteAll(append([][]string{header}, rows...))
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', 6, 64) }

// thousands returns a whole number with commas.
func thousands(f float64) string {
	s := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// aSecond returns a rate as the progress bar shows it.
func aSecond(perSecond float64) string { return thousands(perSecond) + "/s" }

// duration returns milliseconds with a suitable unit.
func duration(ms float64) string {
	switch {
	case ms < 1:
		return fmt.Sprintf("%.1f µs", ms*1e3)
	case ms < 1000:
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.2f s ", ms/1e3)
}
