package handover

import (
	"math"
	"time"
)

// MaxCrashes and MaxPanics are how many processes may end over a client.
const (
	MaxCrashes = maxCrashes
	MaxPanics  = maxPanics
)

// OpenUnjournaled is Open, but the sink keeps no journal, and whatever a session was marked with
// counts as written.
func OpenUnjournaled(opt Options) *Handover {
	h := newHandover(opt)
	if kept, err := h.open(); err != nil || !kept {
		panic("nothing is kept")
	}
	opt.Server.SetKeeper(h)
	h.state.Settle(math.MaxInt32)
	return h
}

// SetSilence has h believe that clients were silent for d longer than they were.
func (h *Handover) SetSilence(d time.Duration) {
	h.kernel = func(fd int) (kernelState, error) {
		k, err := readKernelState(fd)
		k.heard = k.heard.Add(-d)
		return k, err
	}
}
