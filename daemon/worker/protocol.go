package worker

import (
	"encoding/binary"
	"errors"
	"io"
	"math"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
	"tcpmux/daemon/session"
)

// The daemon and a session process speak over a pair of stream sockets. Each sends frames: a
// frameHeader, and the body that it announces. A body is a fixed struct, in network order without
// padding, and for some kinds bytes behind it. Anything else is errProtocol, from either end: a
// process that a client has taken over can have the daemon record what it likes of that client, and
// nothing else.

// frameKind is what a frame is.
type frameKind uint8

const (
	// frameSetup gives the process a client: a setup. The connection comes with the header, as
	// SCM_RIGHTS (unix(7)).
	frameSetup frameKind = 1 + iota
	// frameControl is a control, for the client of the last frameSetup.
	frameControl
	// frameAnswer is an answer to the oldest frameMessages, frameCheckpoint or frameTake that
	// has none.
	frameAnswer

	// frameMessages is one or more messages of the process's client, to be recorded.
	frameMessages
	// frameCheckpoint is a checkpoint.
	frameCheckpoint
	// frameEnd is an end. The process sends nothing after it before the next frameSetup.
	frameEnd
	// frameTake is a take.
	frameTake

	frameKinds // how many there are, and one
)

// errProtocol reports a frame that the protocol does not allow.
var errProtocol = errors.New("frame breaks the protocol")

// frameHeader begins a frame.
type frameHeader struct {
	Kind frameKind
	Size uint32 // of the body, in bytes; never 0
}

// The sizes of what is read before anything else of its kind is known.
var (
	frameHeaderSize = binary.Size(frameHeader{})
	controlSize     = binary.Size(control{})
	answerSize      = binary.Size(answer(0))
)

// There are frame headers and messages by the million, so these two do without the reflection of
// encoding/binary, to the same effect: TestHeadersAreFixedStructs.

// append appends the header.
func (h frameHeader) append(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(h.Kind)), h.Size)
}

// parseFrameHeader reads a header, of frameHeaderSize bytes.
func parseFrameHeader(b []byte) frameHeader {
	r := reader{rest: b}
	return frameHeader{Kind: frameKind(r.uint8()), Size: r.uint32()}
}

// limits are how long the body of a frame may be, by its kind; 0 for a kind that this end does not
// accept.
type limits [frameKinds]uint32

// readHeader reads the next frame's header, by way of buf, which is frameHeaderSize bytes long.
// io.EOF is the end of the stream between two frames.
func (l *limits) readHeader(in io.Reader, buf []byte) (frameHeader, error) {
	if _, err := io.ReadFull(in, buf); err != nil {
		return frameHeader{}, err
	}
	h := parseFrameHeader(buf)
	if h.Kind >= frameKinds || h.Size == 0 || h.Size > l[h.Kind] {
		return frameHeader{}, errProtocol
	}
	return h, nil
}

// maxSetup bounds a setup: the beginning of the longest message, and texts of which the
// configuration allows some kilobytes.
const maxSetup = 32 << 20

// toProcess is what a session process accepts.
var toProcess = limits{
	frameSetup:   maxSetup,
	frameControl: uint32(controlSize),
	frameAnswer:  uint32(answerSize),
}

// maxEndText is how long the error that an end tells of may be.
const maxEndText = 4 << 10

// toDaemon is what the daemon accepts from the process of a client whose longest message is
// maxMessage bytes, framing not counted.
func toDaemon(maxMessage int64) *limits {
	const overhead = 1 << 10 // what frames a message, and the headers
	longest := uint32(min(session.BatchSize+maxMessage+overhead, math.MaxInt32))
	return &limits{
		frameMessages:   longest,
		frameCheckpoint: longest,
		frameTake:       takeSize,
		frameEnd:        maxEndText + overhead,
	}
}

// appendFrame appends a frame of a fixed struct and what stands behind it. It is for frames that
// are few: it allocates.
func appendFrame(dst []byte, kind frameKind, fixed any, more ...[]byte) []byte {
	size := binary.Size(fixed)
	for _, b := range more {
		size += len(b)
	}
	dst = frameHeader{kind, uint32(size)}.append(dst)
	// It fails only for types that are not fixed.
	dst, _ = binary.Append(dst, binary.BigEndian, fixed)
	for _, b := range more {
		dst = append(dst, b...)
	}
	return dst
}

// parse reads the fixed struct at the beginning of a body, and returns what stands behind it.
func parse(body []byte, fixed any) (rest []byte, err error) {
	n, err := binary.Decode(body, binary.BigEndian, fixed)
	if err != nil { // it is short
		return nil, errProtocol
	}
	return body[n:], nil
}

// control is how the daemon stands to the process's client, from now on.
type control struct {
	Phase   session.Phase
	Hurried bool // the session is to wait for nobody
	Bounds  session.Bounds
}

func (c *control) valid() bool {
	b := &c.Bounds
	return c.Phase >= session.Serving && c.Phase <= session.Over &&
		b.Idle >= 0 && b.Session >= 0 && b.Message >= 0 && b.Bytes >= 0
}

// parseControl reads the body of a frameControl.
func parseControl(body []byte) (c control, err error) {
	rest, err := parse(body, &c)
	if err != nil || len(rest) > 0 || !c.valid() {
		return control{}, errProtocol
	}
	return c, nil
}

// answer is what has become of messages, of a checkpoint or of a take.
type answer uint8

const (
	written answer = 1 + iota // the messages are written
	kept                      // the checkpoint is kept, or what was to be taken is
	notKept                   // there is no room for what the checkpoint brought, or not so much to take
)

// append appends a frame of the answer.
func (a answer) append(dst []byte) []byte {
	return append(frameHeader{frameAnswer, uint32(answerSize)}.append(dst), byte(a))
}

// parseAnswer reads the body of a frameAnswer.
func parseAnswer(body []byte) (answer, error) {
	if len(body) != answerSize {
		return 0, errProtocol
	}
	if a := answer(body[0]); a >= written && a <= notKept {
		return a, nil
	}
	return 0, errProtocol
}

// flags are the flags of a message by the number that stands for them.
var flags = [...]string{
	framing.Whole.String(),
	framing.EOF.String(),
	framing.Cut.String(),
	framing.Timeout.String(),
	framing.Malformed.String(),
	framing.Between.String(),
}

// messageHeader stands before the bytes of a message. Where in the stream they stood is not told:
// each message begins where the one before it has ended.
type messageHeader struct {
	Flag              uint8  // index in flags
	HeadSize, EndSize uint8  // of the framing's bytes before the data and behind it
	Size              uint32 // of all of it; never 0
}

// appendMessage appends a message.
func appendMessage(dst []byte, m *record.Message) []byte {
	n := uint8(0)
	for flags[n] != m.Flag {
		n++
	}
	dst = append(dst, n, uint8(m.HeadLen), uint8(m.EndLen))
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.Len()))
	return append(dst, m.Raw...)
}

// parseMessage sets m, but for its offset, to the first message in b, whose bytes it aliases, and
// returns what follows that.
func parseMessage(b []byte, m *record.Message) (rest []byte, err error) {
	r := reader{rest: b}
	h := messageHeader{Flag: r.uint8(), HeadSize: r.uint8(), EndSize: r.uint8(), Size: r.uint32()}
	if r.short || int(h.Flag) >= len(flags) || h.Size == 0 || uint64(h.Size) > uint64(len(r.rest)) ||
		uint32(h.HeadSize)+uint32(h.EndSize) > h.Size {
		return nil, errProtocol
	}
	m.Raw, rest = r.rest[:h.Size], r.rest[h.Size:]
	m.HeadLen, m.EndLen, m.Flag = int(h.HeadSize), int(h.EndSize), flags[h.Flag]
	return rest, nil
}

// progress is what a session has come to.
type progress struct {
	Offset  int64 // where in the stream it goes on
	Framing int64 // a framing.Framer's Memory there
	Pieces  int64 // bytes recorded of a message whose acknowledgement is still to come
}

func (p *progress) valid() bool { return p.Offset >= 0 && p.Pieces >= 0 }

// checkpoint is what the daemon is to keep for a session process: how far the session has come, and
// what of the stream behind that is out of the kernel, or is about to be.
type checkpoint struct {
	checkpointHeader
	more []byte // the bytes behind those that are kept already
}

type checkpointHeader struct {
	Progress progress
	Have     uint32 // how many bytes behind Progress.Offset are kept already
}

// append appends a frame of the checkpoint.
func (c *checkpoint) append(dst []byte) []byte {
	return appendFrame(dst, frameCheckpoint, &c.checkpointHeader, c.more)
}

// parseCheckpoint reads the body of a frameCheckpoint, whose bytes the checkpoint aliases.
func parseCheckpoint(body []byte) (c checkpoint, err error) {
	c.more, err = parse(body, &c.checkpointHeader)
	if err != nil || !c.Progress.valid() || c.Have > math.MaxInt32 {
		return checkpoint{}, errProtocol
	}
	return c, nil
}

// checkpointFollows reports whether a checkpoint follows messages of which the last has a flag,
// once they are written. Otherwise the session has come to their end, where its framing has to know
// nothing but what that message tells.
func checkpointFollows(acks bool, flag string) bool { return acks || flag == framing.Cut.String() }

// end is how a process's session has ended.
type end struct {
	endHeader
	reason session.Reason
	text   string // of an error; "" without one
}

type endHeader struct {
	Progress   progress
	ReasonSize uint8
}

// append appends a frame of the end.
func (e *end) append(dst []byte) []byte {
	e.ReasonSize = uint8(len(e.reason))
	text := e.text[:min(len(e.text), maxEndText)]
	return appendFrame(dst, frameEnd, &e.endHeader, []byte(e.reason), []byte(text))
}

// parseEnd reads the body of a frameEnd. Only the reasons of recorders pass, as records show them.
func parseEnd(body []byte) (e end, err error) {
	words, err := parse(body, &e.endHeader)
	if err != nil || int(e.ReasonSize) > len(words) || !e.Progress.valid() {
		return end{}, errProtocol
	}
	e.reason, e.text = session.Reason(words[:e.ReasonSize]), string(words[e.ReasonSize:])
	if !e.reason.OfRecorder() {
		return end{}, errProtocol
	}
	return e, nil
}

// reader reads numbers from the beginning of a slice.
type reader struct {
	rest  []byte
	short bool // a number was not there, and is 0
}

func (r *reader) uint8() uint8 {
	if len(r.rest) < 1 {
		r.short = true
		return 0
	}
	n := r.rest[0]
	r.rest = r.rest[1:]
	return n
}

func (r *reader) uint32() uint32 {
	if len(r.rest) < 4 {
		r.short = true
		return 0
	}
	n := binary.BigEndian.Uint32(r.rest)
	r.rest = r.rest[4:]
	return n
}
