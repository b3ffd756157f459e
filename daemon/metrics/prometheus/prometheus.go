// Package prometheus writes the text format of Prometheus, with the help texts that "promtool check
// metrics" asks for and the libraries that are small leave out.
package prometheus

import (
	"math"
	runtimemetrics "runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// ContentType is what an answer of HTTP says of its body.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Text is metrics in the text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). The zero value has none.
type Text struct {
	buf  []byte
	name string // of the family that is written
}

// Histogram is how observations are spread. Counts has one more element than Bounds, for those
// beyond the last bound; each counts only its own.
type Histogram struct {
	Bounds []float64 // upper, inclusive
	Counts []int64
	Sum    float64
}

// Bytes returns the text. It is valid until more is appended.
func (t *Text) Bytes() []byte { return t.buf }

// Family begins a family of samples. The kind is "counter", "gauge" or "histogram".
func (t *Text) Family(kind, name, help string) {
	t.name = name
	t.buf = append(t.buf, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

// Sample appends a sample of the family. Labels are names and values in turn.
func (t *Text) Sample(value float64, labels ...string) { t.line("", value, labels) }

func (t *Text) line(suffix string, value float64, labels []string) {
	t.buf = append(t.buf, t.name...)
	t.buf = append(t.buf, suffix...)
	for i := 0; i < len(labels); i += 2 {
		t.buf = append(t.buf, "{,"[min(i, 1)])
		t.buf = append(t.buf, labels[i]...)
		t.buf = append(t.buf, `="`...)
		t.buf = append(t.buf, labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD"))...)
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

// Histogram appends the samples of a histogram.
func (t *Text) Histogram(h Histogram, labels ...string) {
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

// Runtime appends the few figures of Go's runtime that tell a leak.
func (t *Text) Runtime() {
	for _, m := range []struct{ of, kind, name, help string }{
		{"/sched/goroutines:goroutines", "gauge", "go_goroutines", "Goroutines that exist."},
		{"/sched/gomaxprocs:threads", "gauge", "go_sched_gomaxprocs_threads", "Processors in use, at most."},
		{"/memory/classes/heap/objects:bytes", "gauge", "go_heap_objects_bytes", "Memory of live and unswept objects."},
		{"/memory/classes/heap/stacks:bytes", "gauge", "go_stacks_bytes", "Memory of the stacks of goroutines."},
		{"/memory/classes/total:bytes", "gauge", "go_memory_bytes", "Memory that the runtime has mapped."},
		{"/gc/cycles/total:gc-cycles", "counter", "go_gc_cycles_total", "Garbage collections that have ended."},
	} {
		sample := []runtimemetrics.Sample{{Name: m.of}}
		runtimemetrics.Read(sample)
		if sample[0].Value.Kind() != runtimemetrics.KindUint64 {
			continue // this runtime does not know it
		}
		t.Family(m.kind, m.name, m.help)
		t.Sample(float64(sample[0].Value.Uint64()))
	}
}

// Seconds returns a time in seconds since the epoch; 0 for the zero time.
func Seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMicro()) / 1e6
}

// Truth returns 1 for true, and 0 for false.
func Truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
