//go:build !race

package daemon

// childMemory is how much a child may map to write to, in bytes: the longest message and its copies fit, beside the runtime's own.
// One that wants more dies alone.
const childMemory = 512 << 20
