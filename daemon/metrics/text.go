package metrics

import (
	"math"
	"strconv"
	"strings"
)

// text is metrics in the Prometheus text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
type text struct {
	buf  []byte
	name string // of the family that is written
}

// family begins a family of samples. The kind is "counter", "gauge" or "histogram".
func (t *text) family(kind, name, help string) {
	t.name = name
	t.buf = append(t.buf, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

// sample appends a sample of the family. Labels are names and values in turn.
func (t *text) sample(value float64, labels ...string) { t.line("", value, labels) }

func (t *text) line(suffix string, value float64, labels []string) {
	t.buf = append(t.buf, t.name...)
	t.buf = append(t.buf, suffix...)
	for i := 0; i < len(labels); i += 2 {
		t.buf = append(t.buf, "{,"[min(i, 1)])
		t.buf = append(t.buf, labels[i]...)
		t.buf = append(t.buf, `="`...)
		t.buf = append(t.buf, labelEscapes.Replace(labels[i+1])...)
		t.buf = append(t.buf, '"')
	}
	if len(labels) > 0 {
		t.buf = append(t.buf, '}')
	}
	t.buf = append(t.buf, ' ')
	t.buf = append(t.buf, formatted(value)...)
	t.buf = append(t.buf, '\n')
}

// labelEscapes are those of the values of labels.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// formatted returns a value as the format has it.
func formatted(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// histogram appends the samples of a histogram.
func (t *text) histogram(h Histogram, labels ...string) {
	total := int64(0)
	for i, n := range h.Counts {
		total += n
		bound := math.Inf(1)
		if i < len(h.Bounds) {
			bound = h.Bounds[i]
		}
		t.line("_bucket", float64(total), append(labels[:len(labels):len(labels)], "le", formatted(bound)))
	}
	t.line("_sum", h.Sum, labels)
	t.line("_count", float64(total), labels)
}
