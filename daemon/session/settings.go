package session

import (
	"cmp"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/tlsconn"
)

// Settings are those of a listener's clients. They are replaced whole and never changed.
type Settings struct {
	config.Listener
	Sink     Sink     // takes the records
	Buffers  *Buffers // of the sessions of that sink; nil: those of Env
	Framing  framing.Spec
	Banner   Template
	Ack      Template         // of each recorded message; empty: none is sent
	TLS      *tlsconn.Options // nil: clients speak clear text
	Stages   []Stage
	Service  func(*Session) (Service, error)
	Threaded bool   // each client has a thread of its own
	Origin   uint32 // by which the next process knows them; 0: it does not
}

// NewSettings returns those that c asks for, without a sink and stages, and with recording as the
// service.
func NewSettings(c config.Listener, origin uint32) *Settings {
	return &Settings{
		Listener: c,
		Framing:  framingOf(c),
		Banner:   NewBanner(c.Banner),
		Ack:      NewAck(ackOf(c)),
		Service:  Record,
		Origin:   origin,
	}
}

// ackOf returns what the listener's clients are acknowledged with: a built-in service that sends
// something does so alone.
func ackOf(c config.Listener) config.Bytes {
	if c.BuiltIn() && c.Service != config.ServiceDiscard {
		return config.Bytes{}
	}
	return c.Ack
}

// framingOf returns how the listener's clients are cut into messages.
func framingOf(c config.Listener) framing.Spec {
	kind, _ := framing.ParseKind(c.Framing) // config has refused all others
	s := framing.Spec{
		Kind:         kind,
		Max:          int(c.MaxMessage),
		LengthSize:   c.LengthSize,
		LittleEndian: c.LengthOrder == "little",
		LengthOffset: c.LengthOffset,
		LengthAdjust: c.LengthAdjust,
		MessageSize:  c.MessageSize,
		Silence:      c.Silence,
	}
	if kind == framing.Delimited {
		s.Delimiters = delimitersOf(c)
	}
	return s
}

func delimitersOf(c config.Listener) *framing.Delimiters {
	var all []string
	for _, one := range c.Delimiter {
		all = append(all, one.Raw)
	}
	d, _ := framing.NewDelimiters(c.Start.Raw, all...) // config has refused what makes none
	return d
}

// Bounds are what ends a session whose client does not: how long it may go on and how much it may
// send. 0 is no bound. A reload changes them also for sessions that have begun.
type Bounds struct {
	Idle    time.Duration // without a byte
	Session time.Duration // in all
	Message time.Duration // from the first byte of a message to its last, or of a piece of it
	Bytes   int64
}

// What a client of a built-in service has if its listener has no bounds: nobody makes endless work
// with them.
const (
	builtInSession = time.Hour
	builtInBytes   = 64 << 20
)

// BuiltIn returns b with bounds where it has none, for a client of a built-in service.
func (b Bounds) BuiltIn() Bounds {
	b.Session = cmp.Or(b.Session, builtInSession)
	b.Bytes = cmp.Or(b.Bytes, builtInBytes)
	return b
}

// BoundsOf returns those that c asks for.
func BoundsOf(c config.Listener) *Bounds {
	b := Bounds{
		Idle:    c.IdleTimeout,
		Session: c.Limits.MaxSession,
		Message: c.Limits.MessageTimeout,
		Bytes:   c.Limits.MaxSessionBytes,
	}
	if c.BuiltIn() {
		b = b.BuiltIn()
	}
	return &b
}
