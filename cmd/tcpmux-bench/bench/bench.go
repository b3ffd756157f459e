// Package bench is the crowd of "tcpmux-bench": many clients at once against any TCP server that greets, or that does not. It
// promises that a run ends, by count, by time or with its context; that what it measured until then is told, also when it was
// cut short; and that it talks to this machine only unless it is told otherwise.
//
// A client of the crowd is a goroutine or less: what is measured should be the server.
package bench

import (
	"context"
	"time"

	"tcpmux/cmd/internal/progress"
)

// Why a run ended.
const (
	EndedByCount     = "count"
	EndedByDuration  = "duration"
	EndedByInterrupt = "interrupt"
)

// Result is what a run measured.
type Result struct {
	Workload string `json:"workload"`
	Address  string `json:"address"`
	Clients  int    `json:"clients"`
	// Size is the bytes of a line with its end; 0 when the workload sends none.
	Size int `json:"size,omitempty"`
	// Ended is why the run ended: EndedByCount, EndedByDuration or EndedByInterrupt.
	Ended string `json:"ended"`
	// Seconds is the time that was measured. Connecting is part of it only where visits or an idle crowd are measured.
	Seconds float64 `json:"seconds"`
	// Unit names what was counted: visits, clients or lines.
	Unit string `json:"unit"`
	// Done is how many went well, Rate how many a second.
	Done int64   `json:"done"`
	Rate float64 `json:"rate"`
	// Bytes were sent.
	Bytes   int64   `json:"bytes"`
	Latency Latency `json:"latency"`
	// Errors counts what went wrong by its kind; a client that fails counts once.
	Errors map[Kind]int64 `json:"errors"`
}

// Failed is how many errors there were, of all kinds.
func (r Result) Failed() (n int64) {
	for _, k := range r.Errors {
		n += k
	}
	return n
}

// Run measures the server at o.Address, which must have come through Options.Check. It ends early when ctx does. Its error is
// one that kept it from measuring at all; what went wrong on the way is in the Result.
func Run(ctx context.Context, o Options, p *progress.Progress) (Result, error) {
	address, err := target(ctx, o)
	if err != nil {
		return Result{}, err
	}
	if err := o.checkDescriptors(); err != nil {
		return Result{}, err
	}
	w := Workloads[o.Workload]
	r := &run{Options: o, dialer: newDialer(address), latency: newRecorder(), errors: newTally(), progress: p}
	r.Address = address
	ended := w.measure(ctx, r)
	if ctx.Err() != nil {
		ended = EndedByInterrupt
	}
	if w.Size == 0 {
		o.Size = 0
	}
	return Result{
		Workload: o.Workload,
		Address:  o.Address,
		Clients:  o.Clients,
		Size:     o.Size,
		Ended:    ended,
		Seconds:  r.took.Seconds(),
		Unit:     w.Unit,
		Done:     r.done.Load(),
		Rate:     perSecond(r.done.Load(), r.took),
		Bytes:    r.bytes.Load(),
		Latency:  r.latency.summary(w.latency),
		Errors:   r.errors.counts(),
	}, nil
}

func perSecond(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}
