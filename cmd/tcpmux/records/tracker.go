package records

import "slices"

const (
	// closedKept is how many closed sessions are remembered: a session that is closed at the
	// moment of a crash may go on, and close again.
	closedKept = 1 << 14
	// openKept is how many sessions that are not closed are followed. A daemon has fewer at
	// once; a hostile file may have any number.
	openKept = 1 << 18
)

// tracked is what a tracker knows about a session.
type tracked struct {
	name   string
	closed bool
	place  int   // in tracker.closed
	heard  int64 // the tracker's clock when it was last asked for
}

func (t *tracked) track() *tracked { return t }

// tracker keeps sessions by name, in bounded memory: it forgets the sessions that closed the
// longest ago, and of the open ones those that were silent the longest. It is not safe for
// concurrent use.
type tracker[S interface{ track() *tracked }] struct {
	byName    map[string]S
	open      int                // how many are not closed
	most      int                // how many may be
	forgotten int64              // how many were not closed when they were forgotten
	closed    [closedKept]string // names, each in its place
	place     int                // that of the next one
	clock     int64
}

func newTracker[S interface{ track() *tracked }]() *tracker[S] {
	return &tracker[S]{byName: make(map[string]S), most: openKept}
}

// find returns the session of that name; ok is false if it is not known.
func (k *tracker[S]) find(name string) (s S, ok bool) {
	if s, ok = k.byName[name]; ok {
		k.clock++
		s.track().heard = k.clock
	}
	return s, ok
}

// add adds an open session, in place of another of that name.
func (k *tracker[S]) add(name string, s S) {
	k.remove(name)
	if k.open == k.most {
		k.shed()
	}
	k.clock++
	*s.track() = tracked{name: name, heard: k.clock}
	k.byName[name] = s
	k.open++
}

// remove forgets the session of that name.
func (k *tracker[S]) remove(name string) {
	if s, ok := k.byName[name]; ok {
		delete(k.byName, name)
		if !s.track().closed {
			k.open--
		}
	}
}

// close notes that s, which is open, is closed.
func (k *tracker[S]) close(s S) {
	if old, ok := k.byName[k.closed[k.place]]; ok && old.track().closed && old.track().place == k.place {
		delete(k.byName, old.track().name)
	}
	t := s.track()
	t.closed, t.place = true, k.place
	k.closed[k.place] = t.name
	k.place = (k.place + 1) % closedKept
	k.open--
}

// reopen notes that s, which is closed, goes on.
func (k *tracker[S]) reopen(s S) {
	s.track().closed = false
	k.open++
}

// shed forgets the half of the open sessions that were silent the longest.
func (k *tracker[S]) shed() {
	var heard []int64
	for _, s := range k.byName {
		if t := s.track(); !t.closed {
			heard = append(heard, t.heard)
		}
	}
	slices.Sort(heard)
	median := heard[len(heard)/2]
	for name, s := range k.byName {
		if t := s.track(); !t.closed && t.heard <= median {
			k.remove(name)
			k.forgotten++
		}
	}
}
