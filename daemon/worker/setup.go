package worker

import (
	"math"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/framing"
	"tcpmux/daemon/session"
)

// setup is what a session process has to know of its client.
type setup struct {
	setupHeader
	banner string // what the client is greeted with; "": nothing
	ack    string // likewise, but for those that each message fills in
	moved  []byte // the beginning of a message, from Offset on
}

// setupHeader is what stands before the texts of a setup.
type setupHeader struct {
	Control       control // until the first frameControl
	Framing       spec
	Age           time.Duration // of the session; negative where the clock was set back
	BannerTimeout time.Duration
	AckTimeout    time.Duration
	AckHex        bool // no placeholders are left in the acknowledgement
	Checkpoints   bool // the daemon keeps them
	Takes         bool // the daemon takes from the connection
	Resume        resume

	BannerSize, AckSize, MovedSize uint32
}

// resume is what the process has to know of a session that a previous daemon has begun.
type resume struct {
	Progress progress
	Cut      int64         // the end of what was recorded
	Silence  time.Duration // since the client has sent something; 0: not known
	Unread   uint32        // bytes that had arrived by then
}

// spec is a framing.Spec.
type spec struct {
	Kind         framing.Kind
	LengthSize   uint8
	LittleEndian bool
	LengthOffset uint8
	LengthAdjust int32
	Max          uint32
	MessageSize  uint32
	Silence      time.Duration
	Start        sequence
	Delimiters   [framing.MaxDelimiters]sequence // those that are empty are none
}

// sequence is a delimiter or a start.
type sequence struct {
	Size  uint8
	Bytes [framing.MaxDelimiter]byte
}

func sequenceOf(text string) (s sequence) {
	s.Size = uint8(copy(s.Bytes[:], text))
	return s
}

func (s *sequence) text() string { return string(s.Bytes[:min(int(s.Size), len(s.Bytes))]) }

func specOf(s framing.Spec) spec {
	of := spec{
		Kind:         s.Kind,
		LengthSize:   uint8(s.LengthSize),
		LittleEndian: s.LittleEndian,
		LengthOffset: uint8(s.LengthOffset),
		LengthAdjust: int32(s.LengthAdjust),
		Max:          uint32(s.Max),
		MessageSize:  uint32(s.MessageSize),
		Silence:      s.Silence,
	}
	if s.Delimiters != nil {
		of.Start = sequenceOf(s.Delimiters.Start())
		for i, one := range s.Delimiters.All() {
			of.Delimiters[i] = sequenceOf(one)
		}
	}
	return of
}

// framing returns the Spec, which is valid.
func (s *spec) framing() framing.Spec {
	of := framing.Spec{
		Kind:         s.Kind,
		Max:          int(s.Max),
		LengthSize:   int(s.LengthSize),
		LittleEndian: s.LittleEndian,
		LengthOffset: int(s.LengthOffset),
		LengthAdjust: int(s.LengthAdjust),
		MessageSize:  int(s.MessageSize),
		Silence:      s.Silence,
	}
	if s.Kind == framing.Delimited {
		of.Delimiters, _ = s.delimiters() // valid has seen that they can be made
	}
	return of
}

func (s *spec) delimiters() (*framing.Delimiters, error) {
	var all []string
	for i := range s.Delimiters {
		if s.Delimiters[i].Size > 0 {
			all = append(all, s.Delimiters[i].text())
		}
	}
	return framing.NewDelimiters(s.Start.text(), all...)
}

func (s *spec) valid() bool {
	if !s.Kind.Known() || s.Max < 1 || s.Max > math.MaxInt32 {
		return false
	}
	switch s.Kind {
	case framing.LengthPrefixed:
		return s.LengthSize >= 1 && s.LengthSize <= 4 && s.LengthOffset <= framing.MaxLengthOffset
	case framing.Delimited:
		_, err := s.delimiters()
		return err == nil
	case framing.Fixed:
		return s.MessageSize >= 1 && s.MessageSize <= math.MaxInt32
	case framing.Silence:
		return s.Silence > 0
	}
	return true
}

// setupOf returns the setup of a session, as things stand.
func setupOf(s *session.Session) *setup {
	prev := s.Resume
	return &setup{
		setupHeader: setupHeader{
			Control:       controlOf(s),
			Framing:       specOf(s.Settings.Framing),
			Age:           time.Since(s.Opened),
			BannerTimeout: s.Env.BannerTimeout,
			AckTimeout:    s.Settings.AckTimeout,
			AckHex:        s.Settings.Listener.Ack.Hex,
			Checkpoints:   s.Slot != nil,
			Resume: resume{
				Progress: progress{Offset: s.Offset(), Framing: prev.Framing, Pieces: prev.Pieces},
				Cut:      prev.Cut,
				Silence:  silence(prev),
				Unread:   uint32(prev.Unread),
			},
		},
		banner: string(s.Greeting()),
		ack:    s.Settings.Ack.Bind(s).Text(),
		moved:  prev.Moved,
	}
}

// controlOf returns the control of a session, as things stand.
func controlOf(s *session.Session) control {
	return control{Phase: s.Phase(), Hurried: s.Hurried(), Bounds: *s.Bounds.Load()}
}

// silence returns how long the client has sent nothing, as the previous daemon saw it.
func silence(prev *session.Resume) time.Duration {
	if prev.Heard.IsZero() {
		return 0
	}
	return max(time.Since(prev.Heard), 0)
}

// append appends a frame of the setup.
func (s *setup) append(dst []byte) []byte {
	s.BannerSize, s.AckSize, s.MovedSize = uint32(len(s.banner)), uint32(len(s.ack)), uint32(len(s.moved))
	return appendFrame(dst, frameSetup, &s.setupHeader, []byte(s.banner), []byte(s.ack), s.moved)
}

// parseSetup reads the body of a frameSetup, whose bytes the setup aliases.
func parseSetup(body []byte) (*setup, error) {
	s := new(setup)
	rest, err := parse(body, &s.setupHeader)
	if err != nil || !s.valid() ||
		uint64(s.BannerSize)+uint64(s.AckSize)+uint64(s.MovedSize) != uint64(len(rest)) {
		return nil, errProtocol
	}
	text := func(n uint32) (b []byte) {
		b, rest = rest[:n:n], rest[n:]
		return b
	}
	s.banner, s.ack, s.moved = string(text(s.BannerSize)), string(text(s.AckSize)), text(s.MovedSize)
	return s, nil
}

func (h *setupHeader) valid() bool {
	prev := &h.Resume
	return h.Control.valid() && h.Framing.valid() && h.BannerTimeout >= 0 && h.AckTimeout >= 0 &&
		prev.Progress.valid() && prev.Cut >= 0 && prev.Silence >= 0 && prev.Unread <= math.MaxInt32
}

// settings returns the settings that the process serves its client by, with what takes the
// messages.
func (s *setup) settings(to session.Sink) *session.Settings {
	return &session.Settings{
		Listener: config.Listener{AckTimeout: s.AckTimeout},
		Sink:     to,
		Framing:  s.Framing.framing(),
		Banner:   session.FixedText(s.banner),
		Ack:      session.NewAck(config.Bytes{Raw: s.ack, Hex: s.AckHex}),
	}
}

// resume returns what the session goes on with.
func (s *setup) resume(now time.Time) *session.Resume {
	prev := &s.Resume
	r := &session.Resume{
		Offset:  prev.Progress.Offset,
		Framing: prev.Progress.Framing,
		Pieces:  prev.Progress.Pieces,
		Cut:     prev.Cut,
		Moved:   s.moved,
	}
	if prev.Silence > 0 {
		r.Heard, r.Unread = now.Add(-prev.Silence), int(prev.Unread)
	}
	return r
}
