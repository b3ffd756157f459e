//go:build race

package admission

// slowness is by what the race detector makes a decision slower.
const slowness = 20
