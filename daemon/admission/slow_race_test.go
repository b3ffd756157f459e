//go:build race

package admission

// slowness is the factor by which the race detector slows a decision down.
const slowness = 20
