//go:build race

package daemon

// childMemory has to hold what the race detector maps beside all that the program does.
const childMemory = 8 << 30
