//go:build !race

package tlsconn_test

// underRace reports whether the race detector runs, under which a sync.Pool loses what it is given.
const underRace = false
