package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The largest values of Options.
const (
	MaxClients  = 100_000
	MaxCount    = 100_000_000
	MaxDuration = time.Hour
	MaxSize     = 1 << 20
	MaxRate     = 10_000_000
	MaxTimeout  = 10 * time.Minute
)

// Options select what is measured. Check replaces Clients, Count, Duration, Size and Timeout by the
// defaults of the workload if they are zero.
type Options struct {
	// Address is the server's host:port.
	Address string
	// Workload is a key of Workloads.
	Workload string
	// Clients is the number of clients at the same time.
	Clients int
	// Count is the number of visits in all, of lines of each client, or of rounds. An idle
	// crowd ignores it.
	Count int
	// Duration ends a run that has not reached Count. An idle crowd stays connected for it.
	Duration time.Duration
	// Size is the number of bytes of a line with its end.
	Size int
	// Framing is how messages are framed that are sent in place of lines, by its name in the
	// configuration of tcpmux; "" is "line".
	Framing string
	// Rate is the largest number of visits or lines a second, over all clients; 0 means no
	// limit.
	Rate int
	// Greeting reports whether a client waits until the server has sent something.
	Greeting bool
	// Expect is how the greeting must begin; with "" any first byte is a greeting.
	Expect string
	// Timeout is how long a client waits for each of these: its connection with the greeting,
	// room to write, and the end.
	Timeout time.Duration
	// TLS is how TLS is spoken; nil is clear text.
	TLS *tls.Config
	// AllowRemote reports whether the server may be on another machine.
	AllowRemote bool
	// afterCrowd is called when a crowd has connected, and its result when the crowd has
	// closed. It may be nil.
	afterCrowd func() (end func())
}

// DefaultTimeout is the default of Options.Timeout.
const DefaultTimeout = 10 * time.Second

// Check fills in the defaults, and reports all options that are wrong.
func (o *Options) Check() error {
	w, ok := Workloads[o.Workload]
	if !ok {
		return fmt.Errorf("workload %q, want one of %s", o.Workload, strings.Join(WorkloadNames(), ", "))
	}
	o.fill(w)
	return errors.Join(
		within("--clients", o.Clients, 1, MaxClients),
		within("--count", o.Count, 1, MaxCount),
		within("--duration", o.Duration, time.Millisecond, MaxDuration),
		within("--size", o.Size, 2, MaxSize),
		within("--rate", o.Rate, 0, MaxRate),
		within("--timeout", o.Timeout, time.Millisecond, MaxTimeout),
		o.checkExpect(),
		o.checkFraming(),
	)
}

func (o *Options) fill(w Workload) {
	fill(&o.Clients, w.Clients)
	fill(&o.Count, max(w.Count, 1))
	fill(&o.Duration, w.Duration)
	fill(&o.Size, max(w.Size, 2))
	fill(&o.Timeout, DefaultTimeout)
}

func fill[T int | time.Duration](value *T, or T) {
	if *value == 0 {
		*value = or
	}
}

func within[T int | time.Duration](name string, value, low, high T) error {
	if value < low || value > high {
		return fmt.Errorf("%s is %v, want %v to %v", name, value, low, high)
	}
	return nil
}

func (o *Options) checkExpect() error {
	if o.Expect != "" && !o.Greeting {
		return errors.New("--expect together with --greeting=false, want one of them")
	}
	if len(o.Expect) > maxGreeting {
		return fmt.Errorf("--expect has %d bytes, want at most %d", len(o.Expect), maxGreeting)
	}
	return nil
}

// WorkloadNames returns the keys of Workloads in the order of the help.
func WorkloadNames() []string {
	names := make([]string, 0, len(Workloads))
	for name := range Workloads {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return Workloads[a].order - Workloads[b].order })
	return names
}
