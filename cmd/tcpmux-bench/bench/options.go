package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What no run exceeds.
const (
	MaxClients  = 100_000
	MaxCount    = 100_000_000
	MaxDuration = time.Hour
	MaxSize     = 1 << 20
	MaxRate     = 10_000_000
	MaxTimeout  = 10 * time.Minute
)

// Options say what is measured. Those that are zero become the workload's defaults in Check.
type Options struct {
	// Address is the server's host:port.
	Address string
	// Workload is a key of Workloads.
	Workload string
	// Clients is how many there are at once.
	Clients int
	// Count is how many visits there are in all, lines each client sends, or rounds. It means nothing for an idle crowd.
	Count int
	// Duration is when a run ends that has not reached Count; it is how long an idle crowd is held.
	Duration time.Duration
	// Size is the bytes of a line, its end included.
	Size int
	// Rate is how many visits or lines a second there are at most, over all clients; 0 is as many as the server takes.
	Rate int
	// Greeting says whether a client waits for the server to speak first.
	Greeting bool
	// Expect is how the greeting must begin; "" is content with any first byte.
	Expect string
	// Timeout is how long one client may wait for anything: connection and greeting, room to write, the end.
	Timeout time.Duration
	// AllowRemote allows servers on other machines.
	AllowRemote bool
	// afterCrowd is called when a crowd has connected, and what it returns when the crowd has gone.
	afterCrowd func() (end func())
}

// DefaultTimeout is that of a client.
const DefaultTimeout = 10 * time.Second

// Check fills in the defaults and tells everything that is wrong with what is asked for.
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
		return errors.New("--expect beside --greeting=false, want one of them")
	}
	if len(o.Expect) > maxGreeting {
		return fmt.Errorf("--expect has %d bytes, want at most %d", len(o.Expect), maxGreeting)
	}
	return nil
}

// WorkloadNames are the keys of Workloads, in the order in which they are explained.
func WorkloadNames() []string {
	names := make([]string, 0, len(Workloads))
	for name := range Workloads {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return Workloads[a].order - Workloads[b].order })
	return names
}
