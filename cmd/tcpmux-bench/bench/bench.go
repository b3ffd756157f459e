// Package bench puts many clients on a TCP server at once and measures it, whether the server
// greets or not. It promises that a run ends by count, by time or with its context; that it reports
// what it measured until then, also if it was interrupted; and that it connects only to this
// machine unless Options.AllowRemote is set.
//
// A client costs a goroutine at most, so that the server is what is measured.
package bench

import (
	"context"
	"time"

	"tcpmux/cmd/internal/progress"
)

// The reasons why a run ended.
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
	// Size is the number of bytes of a line with its end; 0 if the workload sends none.
	Size int `json:"size,omitempty"`
	// Ended is why the run ended: EndedByCount, EndedByDuration or EndedByInterrupt.
	Ended string `json:"ended"`
	// Seconds is the time that was measured. It includes connecting only for visits and for an
	// idle crowd.
	Seconds float64 `json:"seconds"`
	// Unit names what was counted: visits, clients or lines.
	Unit string `json:"unit"`
	// Done is how many succeeded, and Rate how many a second.
	Done int64   `json:"done"`
	Rate float64 `json:"rate"`
	// Bytes is the number of bytes that were sent.
	Bytes   int64   `json:"bytes"`
	Latency Latency `json:"latency"`
	// Errors counts errors by kind. A client that fails counts once.
	Errors map[Kind]int64 `json:"errors"`
}

// Failed returns the number of errors of all kinds.
func (r Result) Failed() (n int64) {
	for _, k := range r.Errors {
		n += k
	}
	return n
}

// Run measures the server at o.Address. Options.Check must have accepted o. It ends early when ctx
// does. It returns an error only if it could not measure at all; errors of clients are in the
// Result. A nil p shows no progress.
func Run(ctx context.Context, o Options, p *progress.Progress) (Result, error) {
	address, err := target(ctx, o)
	if err != nil {
		return Result{}, err
	}
	if err := o.checkDescriptors(); err != nil {
		return Result{}, err
	}
	w := Workloads[o.Workload]
	r := &run{Options: o, dialer: newDialer(address, o.TLS), latency: newRecorder(), errors: newErrorCounts(), progress: p}
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
		Errors:   r.errors.byKind,
	}, nil
}

func perSecond(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}
