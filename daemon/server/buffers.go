package server

import (
	"context"
	"maps"
	"slices"
	"sync"

	"tcpmux/daemon/session"
)

// ownBuffers are the buffers of the sessions whose listener has a sink of its own, by that.
type ownBuffers struct {
	mu      sync.Mutex
	encoder func() session.Encoder
	all     map[session.Sink]*session.Buffers
}

// of returns the buffers of the sessions of a sink.
func (o *ownBuffers) of(to session.Sink) *session.Buffers {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all[to] == nil {
		o.all[to] = session.NewBuffers(o.encoder)
	}
	return o.all[to]
}

// except returns all buffers but those of the given sinks.
func (o *ownBuffers) except(sinks []session.Sink) (all []*session.Buffers) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for to, b := range o.all {
		if !slices.Contains(sinks, to) {
			all = append(all, b)
		}
	}
	return all
}

// Pause returns once no session is between encoding a record and handing it over, and keeps all
// there until resume is called. It returns nil if ctx is done first. Sessions of the sinks in
// except, which listeners have for themselves, go on.
func (s *Server) Pause(ctx context.Context, except ...session.Sink) (resume func()) {
	var resumes []func()
	resume = func() {
		for _, f := range resumes {
			f()
		}
	}
	for _, b := range append(s.own.except(except), s.env.Buffers) {
		f := b.Pause(ctx)
		if f == nil {
			resume()
			return nil
		}
		resumes = append(resumes, f)
	}
	return resume
}

// SetEncoder changes what encodes records. It is called between Pause and resume. For sessions that
// have gone on meanwhile, both encoders have to be of one format.
func (s *Server) SetEncoder(encoder func() session.Encoder) {
	s.env.Buffers.SetEncoder(encoder)
	s.own.mu.Lock()
	defer s.own.mu.Unlock()
	s.own.encoder = encoder
	for b := range maps.Values(s.own.all) {
		b.SetEncoder(encoder)
	}
}
