package daemon

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"tcpmux/daemon/framing"
	"tcpmux/daemon/record"
)

// The daemon and the child process that serves a client speak over a socket pair. To the child go orders, one byte each; the
// first is the hello, which brings the connection as ancillary data. From it come parcels: a byte that says what it is, four
// that say how long it is, and that.
const (
	orderHello   = 'h' // and a hello
	orderWritten = 'w' // the messages of one parcel are written
	orderKept    = 'k' // so is a note
	orderNotKept = 'n' // there is no room for it
	orderBind    = 'b' // and bounds, in force from now on
	orderDrain   = 'd' // say no more to the client
	orderLeave   = 'l' // leave the client to the next process
	orderExpire  = 'x' // the time to finish is over
	parcelData   = 'm' // messages; one orderWritten answers them all
	parcelNote   = 'n' // a note; one orderKept or orderNotKept answers it
	parcelEnd    = 'e' // the session is over: an ending
)

// parcelHead is how long the head of a parcel is.
const parcelHead = 1 + 4

// flags are the flags of a message by the number that stands for them.
var flags = [...]string{framing.Whole.String(), framing.EOF.String(), framing.Cut.String(), framing.Timeout.String(), framing.Malformed.String(),
	framing.Between.String()}

// parcelEncoder is a child's encoder: what it makes, unpack takes apart again in the daemon, which alone writes records.
type parcelEncoder struct{ *post }

// Begin does nothing: whose messages they are, and when they came, the daemon knows.
func (parcelEncoder) Begin(*record.Source, time.Time) {}

// Message appends what unpack takes apart.
func (e parcelEncoder) Message(dst []byte, m *record.Message) []byte {
	e.cut = isNoted(false, m.Flag)
	n := byte(0)
	for flags[n] != m.Flag {
		n++
	}
	dst = binary.BigEndian.AppendUint64(append(dst, n), uint64(m.Offset))
	for _, n := range [...]int{m.HeadLen, m.EndLen, m.Len()} {
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return append(dst, m.Raw...)
}

// Open appends nothing: that a session begins is the daemon's to record.
func (parcelEncoder) Open(dst []byte) []byte { return dst }

// Close appends nothing, for the same reason.
func (parcelEncoder) Close(dst []byte, _ string, _, _ int64) []byte { return dst }

// errParcel is what a child that does not keep to the protocol ends with.
var errParcel = errors.New("session process: it does not keep to the protocol")

// unpack returns the first message of a parcel and what follows it.
func unpack(parcel []byte) (m record.Message, rest []byte, err error) {
	const head = 1 + 8 + 3*4
	if len(parcel) < head || int(parcel[0]) >= len(flags) {
		return m, nil, errParcel
	}
	m.Flag, m.Offset = flags[parcel[0]], int64(binary.BigEndian.Uint64(parcel[1:]))
	number := func(i int) int64 { return int64(binary.BigEndian.Uint32(parcel[9+4*i:])) }
	before, end, n := number(0), number(1), number(2)
	rest = parcel[head:]
	if m.Offset < 0 || before+end > n || n > int64(len(rest)) {
		return m, nil, errParcel
	}
	m.Raw, m.HeadLen, m.EndLen = rest[:n], int(before), int(end)
	return m, rest[n:], nil
}

// ending is how a child's session went.
type ending struct {
	offset  int64
	framing int64 // what the framing has to know there
	pieces  int64 // bytes that are recorded of a message whose acknowledgement is still to come
	why     reason
	err     string
}

func (e ending) appendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.offset))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.framing))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.pieces))
	return append(append(append(dst, byte(len(e.why))), e.why...), e.err...)
}

// parseEnding reads an ending. Only the reasons of a talk pass: records show them.
func parseEnding(b []byte) (e ending, err error) {
	const head = 8 + 8 + 8 + 1
	if len(b) < head || len(b) < head+int(b[head-1]) {
		return e, errParcel
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	e.offset, e.framing, e.pieces = at(0), at(1), at(2)
	words := b[head:]
	e.why, e.err = reason(words[:b[head-1]]), string(words[b[head-1]:])
	if !e.why.isTalks() {
		return e, errParcel
	}
	return e, nil
}

// post is a child's sink: it sends what is gathered to the daemon, and waits until that says that it is written.
type post struct {
	out io.Writer
	cut bool // the last message is a piece of one; of the session's goroutine

	mu   sync.Mutex
	sent uint64 // parcels
	done uint64 // of these, answered
	kept bool   // the last of those was a note, and is kept
	come sync.Cond
}

func newPost(out io.Writer) *post {
	p := &post{out: out}
	p.come.L = &p.mu
	return p
}

// Gather sends the messages at once; they wait for their turn in the channel, and with the daemon, whose sink keeps the journal.
func (p *post) Gather(messages []byte, _ record.Giver) (record.Ticket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(messages) == 0 {
		return record.Ticket(p.sent), nil
	}
	return p.send(parcelData, messages)
}

// send sends a parcel that will be answered. It is called with mu held.
func (p *post) send(kind byte, body []byte) (record.Ticket, error) {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)))
	if _, err := p.out.Write(append(head, body...)); err != nil {
		return 0, os.NewSyscallError("send to the daemon", err)
	}
	p.sent++
	return record.Ticket(p.sent), nil
}

// note has the daemon keep a note and reports whether it does. An error means that nobody knows: the daemon has gone, or is going.
func (p *post) note(n note) (kept bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, err := p.send(parcelNote, n.appendTo(nil))
	if err != nil {
		return false, err
	}
	p.await(t)
	return p.kept, nil
}

// Commit waits until the daemon says that they are written. It never fails: when the daemon ends, so does the process.
func (p *post) Commit(t record.Ticket) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.await(t)
	return nil
}

// await waits until a parcel is answered. It is called with mu held.
func (p *post) await(t record.Ticket) {
	for p.done < uint64(t) {
		p.come.Wait()
	}
}

// CommitNow is Commit: what has been sent already cannot be hurried.
func (p *post) CommitNow(t record.Ticket) error { return p.Commit(t) }

// answered notes that one more parcel is dealt with, and whether it was a note that is kept.
func (p *post) answered(kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	p.kept = kept
	p.come.Broadcast()
}

// end tells the daemon how the session went.
func (p *post) end(e ending) error {
	body := e.appendTo(nil)
	_, err := p.out.Write(append(binary.BigEndian.AppendUint32([]byte{parcelEnd}, uint32(len(body))), body...))
	return err
}
