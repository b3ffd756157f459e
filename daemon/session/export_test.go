package session

import (
	"maps"
	"slices"
)

// Sizes that tests go beyond.
const (
	MoveSize   = moveSize
	ReadSize   = readSize
	MaxBuffers = maxBuffers
)

// Holders returns how many recorders hold something and were not pressed since.
func (p *Spill) Holders() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, class := range p.holders {
		n += len(class)
	}
	return n
}

// Placeholders returns the names of what banners are filled in with.
func Placeholders() []string { return slices.Sorted(maps.Keys(facts)) }
