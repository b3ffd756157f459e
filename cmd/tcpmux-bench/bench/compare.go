package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"tcpmux/cmd/internal/progress"
)

// CompareOptions select what is compared. The Options apply to every server, except Address, which
// is ignored.
type CompareOptions struct {
	Options
	// Program is the path of tcpmux.
	Program string
	// Reference is the directory of the reference programs, which may be missing.
	Reference string
	// Runs is how often each server is measured, 1 to MaxRuns. The servers take turns, and the
	// medians are reported.
	Runs int
}

// MaxRuns is the largest CompareOptions.Runs.
const MaxRuns = 20

// Check fills in the defaults, and returns an error if an option is wrong.
func (o *CompareOptions) Check() error {
	if err := within("--runs", o.Runs, 1, MaxRuns); err != nil {
		return err
	}
	return o.Options.Check()
}

// Comparison is what was measured side by side.
type Comparison struct {
	Workload string  `json:"workload"`
	Clients  int     `json:"clients"`
	Size     int     `json:"size,omitempty"`
	Unit     string  `json:"unit"`
	Runs     int     `json:"runs"`
	Servers  []Entry `json:"servers"`
	// Skipped has a line for each server that was not measured, with the reason.
	Skipped []string `json:"skipped"`
	// Interrupted reports whether the comparison ended early.
	Interrupted bool `json:"interrupted"`
}

// Entry has the medians of one server. Ratios are relative to the first entry.
type Entry struct {
	Server string `json:"server"`
	Runs   int    `json:"runs"`
	// Done is the sum over all runs.
	Done      int64   `json:"done"`
	Rate      float64 `json:"rate"`
	RateRatio float64 `json:"rate_ratio"`
	P50       float64 `json:"p50_ms"`
	P50Ratio  float64 `json:"p50_ratio"`
	P99       float64 `json:"p99_ms"`
	P99Ratio  float64 `json:"p99_ratio"`
	// CPU is the processor time of the server for each unit, in microseconds. It includes the
	// start and the end of the server.
	CPU      float64        `json:"cpu_us"`
	CPURatio float64        `json:"cpu_ratio"`
	Errors   map[Kind]int64 `json:"errors"`
}

// Compare measures tcpmux with each model, and the reference programs that exist. Each runs alone,
// on a port and in a directory of its own. Compare ends everything that it started.
func Compare(ctx context.Context, o CompareOptions, p *progress.Progress) (Comparison, error) {
	if err := o.checkDescriptors(); err != nil {
		return Comparison{}, err
	}
	w := Workloads[o.Workload]
	c := Comparison{Workload: o.Workload, Clients: o.Clients, Unit: w.Unit, Runs: o.Runs}
	if w.Size > 0 {
		c.Size = o.Size
	}
	list, skipped := candidates(o)
	c.Skipped = skipped
	list = slices.DeleteFunc(list, func(s candidate) bool {
		skip := s.oneByOne && o.Workload != "visits"
		if skip {
			c.Skipped = append(c.Skipped, s.name+": it serves one client at a time")
		}
		return skip
	})
	trials := make(map[string][]trial, len(list))
	for n := range o.Runs {
		for _, s := range list {
			p.Title(fmt.Sprintf("%d/%d %s: ", n+1, o.Runs, s.name))
			t, err := measure(ctx, s, o.Options, p)
			if ctx.Err() != nil {
				c.Interrupted = true
				break
			}
			if err != nil {
				return c, err
			}
			trials[s.name] = append(trials[s.name], t)
		}
	}
	for _, s := range list {
		if len(trials[s.name]) > 0 {
			c.Servers = append(c.Servers, entry(s.name, trials[s.name]))
		}
	}
	c.ratios()
	return c, nil
}

// trial is one run of one server.
type trial struct {
	Result
	cpu time.Duration
}

func measure(ctx context.Context, c candidate, o Options, p *progress.Progress) (trial, error) {
	s, err := c.start(ctx, o.Clients)
	if err != nil {
		return trial{}, err
	}
	o.Address = s.address
	if c.needsNext {
		o.afterCrowd = s.connectNext
	}
	r, err := Run(ctx, o, p)
	cpu, serr := s.stop()
	if err == nil {
		err = serr
	}
	return trial{r, cpu}, err
}

func entry(name string, trials []trial) Entry {
	e := Entry{Server: name, Runs: len(trials), Errors: map[Kind]int64{}}
	e.Rate = median(trials, func(t trial) float64 { return t.Rate })
	e.P50 = median(trials, func(t trial) float64 { return t.Latency.P50 })
	e.P99 = median(trials, func(t trial) float64 { return t.Latency.P99 })
	e.CPU = median(trials, func(t trial) float64 { return float64(t.cpu.Microseconds()) / float64(max(t.Done, 1)) })
	for _, t := range trials {
		e.Done += t.Done
		for k, n := range t.Errors {
			e.Errors[k] += n
		}
	}
	return e
}

func median(trials []trial, of func(trial) float64) float64 {
	values := make([]float64, len(trials))
	for i, t := range trials {
		values[i] = of(t)
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (c *Comparison) ratios() {
	for i := range c.Servers {
		e, first := &c.Servers[i], c.Servers[0]
		e.RateRatio, e.CPURatio = ratio(e.Rate, first.Rate), ratio(e.CPU, first.CPU)
		e.P50Ratio, e.P99Ratio = ratio(e.P50, first.P50), ratio(e.P99, first.P99)
	}
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Err returns an error about the first server with errors, or nil.
func (c Comparison) Err() error {
	for _, e := range c.Servers {
		if len(e.Errors) > 0 {
			return fmt.Errorf("bench: %s: %s", e.Server, errorList(e.Errors))
		}
	}
	return nil
}

// WriteJSON writes c as one JSON object on a line.
func (c Comparison) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(c) }

// WriteCSV writes c as comma-separated values: a header, and a row for each server.
func (c Comparison) WriteCSV(w io.Writer) error {
	var rows [][]string
	for _, e := range c.Servers {
		rows = append(rows, []string{c.Workload, strconv.Itoa(c.Clients), strconv.Itoa(c.Size), c.Unit, e.Server, strconv.Itoa(e.Runs),
			strconv.FormatInt(e.Done, 10), decimal(e.Rate), decimal(e.RateRatio), decimal(e.P50), decimal(e.P50Ratio), decimal(e.P99),
			decimal(e.P99Ratio), decimal(e.CPU), decimal(e.CPURatio), errorList(e.Errors)})
	}
	return writeCSV(w, []string{"workload", "clients", "size", "unit", "server", "runs", "done", "rate", "rate_ratio", "p50_ms",
		"p50_ratio", "p99_ms", "p99_ratio", "cpu_us", "cpu_ratio", "errors"}, rows)
}

func (c Comparison) average() string {
	if c.Runs == 1 {
		return "one run"
	}
	return fmt.Sprintf("medians of %d runs", c.Runs)
}

// WriteTable writes c as a table to read.
func (c Comparison) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s clients%s: %s, in brackets the ratio to the first\n", c.Workload, thousands(float64(c.Clients)), lineSize(c.Size), c.average())
	width := 0
	for _, e := range c.Servers {
		width = max(width, len(e.Server))
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%-*s\t%s/s\t\t50 %%\t\t99 %%\t\tCPU each\t\terrors\t\n", width, "", c.Unit)
	for _, e := range c.Servers {
		fmt.Fprintf(t, "%-*s\t%s\t(%.2f)\t%s\t(%.2f)\t%s\t(%.2f)\t%s\t(%.2f)\t%s\t\n", width, e.Server, thousands(e.Rate), e.RateRatio,
			duration(e.P50), e.P50Ratio, duration(e.P99), e.P99Ratio, duration(e.CPU/1e3), e.CPURatio, errorList(e.Errors))
	}
	_ = t.Flush() // into memory
	for _, s := range c.Skipped {
		fmt.Fprintf(&b, "not measured: %s\n", s)
	}
	if c.Interrupted {
		b.WriteString("interrupted: not all runs were made\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
