//go:build race

package worker

// maxMemory has to hold what the race detector maps next to what the program does.
const maxMemory = 8 << 30
