//go:build !race

package worker

// maxMemory is how much a session process may map to write to, in bytes: the longest message and
// its copies fit, with what the runtime needs. A process that wants more dies alone.
const maxMemory = 512 << 20
