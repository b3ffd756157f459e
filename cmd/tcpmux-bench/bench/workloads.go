package bench

import (
	"context"
	"time"
)

// Workload is a way in which clients behave, with the defaults of a run.
type Workload struct {
	// What describes it in a line.
	What string
	// Unit names what is counted.
	Unit string
	// Clients, Count, Duration and Size are the defaults of the Options.
	Clients, Count int
	Duration       time.Duration
	Size           int

	order   int
	latency string // what Latency.Of is
	measure func(ctx context.Context, r *run) (ended string)
}

const (
	connectToGreeting = "connect to greeting"
	lineWrite         = "write of a line, waiting for room included"
)

// Workloads has all workloads by name.
var Workloads = map[string]Workload{
	"visits": {
		order: 1, What: "each client connects, is greeted, closes, and comes again",
		Unit: "visits", Clients: 64, Count: 20_000, Duration: 30 * time.Second,
		latency: connectToGreeting, measure: visits,
	},
	"idle": {
		order: 2, What: "a crowd connects, is greeted, holds still, and closes",
		Unit: "clients", Clients: 1000, Duration: 5 * time.Second,
		latency: connectToGreeting, measure: idle,
	},
	"lines": {
		order: 3, What: "each client sends its lines, one a write",
		Unit: "lines", Clients: 64, Count: 2000, Duration: 30 * time.Second, Size: 100,
		latency: lineWrite, measure: lines,
	},
	"volume": {
		order: 4, What: "each client sends its lines, many a write",
		Unit: "lines", Clients: 16, Count: 20_000, Duration: 30 * time.Second, Size: 256,
		latency: "write of a block of lines, waiting for room included", measure: volume,
	},
	"trickle": {
		order: 5, What: "many clients, one line each a round",
		Unit: "lines", Clients: 500, Count: 20, Duration: 30 * time.Second, Size: 100,
		latency: lineWrite, measure: trickle,
	},
}
