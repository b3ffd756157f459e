package stream

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"

	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
)

// The headers of a message. Consumers may use the first three.
const (
	// headerSession is the session of the record.
	headerSession = "Tcpmux-Session"
	// headerOffset is where a message begins in the session's stream.
	headerOffset = "Tcpmux-Offset"
	// headerRemote is the address of the client.
	headerRemote = "Tcpmux-Remote"
	// headerCursor is where the delivery stands behind the record, as text of package delivery.
	headerCursor = "Tcpmux-Cursor"
	// headerBehind is a sequence. The cursor does not know what others have published as this
	// machine behind it. Without it, the cursor knows everything.
	headerBehind = "Tcpmux-Behind"

	headerStream         = nats.ExpectedStreamHdr
	headerSequence       = nats.ExpectedLastSeqHdr
	headerLastID         = nats.ExpectedLastMsgIdHdr
	headerSubjectSeq     = nats.ExpectedLastSubjSeqHdr
	headerSubjectSubject = "Nats-Expected-Last-Subject-Sequence-Subject"
	headerID             = nats.MsgIdHdr
	headerBatch          = "Nats-Batch-Id"
	headerBatchSeq       = "Nats-Batch-Sequence"
	headerCommit         = "Nats-Batch-Commit"
)

// maxSubjects is how many subjects are remembered.
const maxSubjects = 1024

// message makes messages, one at a time, in memory that it keeps. Most have the same headers as the
// one before, and then the map of the client is not changed: that is half of what a message costs.
type message struct {
	msg      nats.Msg
	fields   []field
	subjects map[subjectKey]string
	text     []byte
}

// field is a header that a message may have.
type field struct {
	key     string
	value   []string // one
	is, was bool     // this message has it; msg.Header has it
}

type subjectKey struct {
	listener string
	kind     record.Kind
}

func (m *message) open() {
	m.subjects = map[subjectKey]string{}
	m.msg.Header = nats.Header{}
}

// begin begins the message of a record.
func (m *message) begin(c *Conn, r *spool.Record) {
	for i := range m.fields {
		m.fields[i].is = false
	}
	m.msg.Subject, m.msg.Data, m.msg.Reply = m.subject(c, r), r.Line, ""
	m.set(headerSession, r.Session)
	if r.Kind == record.KindMessage {
		m.set(headerOffset, strconv.FormatInt(r.Offset, 10))
	}
	m.set(headerRemote, r.Remote)
}

func (m *message) subject(c *Conn, r *spool.Record) string {
	key := subjectKey{r.Listener, r.Kind}
	s, ok := m.subjects[key]
	if !ok {
		if len(m.subjects) == maxSubjects {
			clear(m.subjects)
		}
		s = Subject(c.opt.Forward, c.opt.Host, r.Listener, wordOf(r.Kind))
		m.subjects[subjectKey{r.Listener, r.Kind}] = s
	}
	return s
}

// set sets a header.
func (m *message) set(key, value string) {
	i := slices.IndexFunc(m.fields, func(f field) bool { return f.key == key })
	if i < 0 {
		i = len(m.fields)
		m.fields = append(m.fields, field{key: key, value: make([]string, 1)})
	}
	m.fields[i].value[0], m.fields[i].is = value, true
}

func (m *message) setNumber(key string, n uint64) { m.set(key, strconv.FormatUint(n, 10)) }

// setPosition sets the cursor of a message that ends no batch.
func (m *message) setPosition(p delivery.Position) {
	m.text = p.AppendTo(m.text[:0])
	m.set(headerCursor, string(m.text))
}

// setCursor sets a whole cursor, with the position of the record's file first.
func (m *message) setCursor(c delivery.Cursor, key delivery.Key) {
	for i := range c {
		if c[i].Key == key {
			c[0], c[i] = c[i], c[0]
		}
	}
	m.text = c.AppendTo(m.text[:0])
	m.set(headerCursor, string(m.text))
}

// publish sends the message.
func (m *message) publish(c *Conn, r *spool.Record) error {
	size := int64(len(r.Line)) + m.header()
	if limit := c.info.MaxPayload; limit > 0 && size > limit {
		return tooLarge(r, size, fmt.Sprintf("the server takes %d (max_payload): raise that in its configuration", limit))
	}
	if limit := int64(c.config.MaxMsgSize); limit > 0 && size > limit {
		return tooLarge(r, size, fmt.Sprintf("stream %q takes %d (max_msg_size): \"nats stream edit %[1]s --max-msg-size=SIZE\" raises that",
			c.opt.Forward.Stream, limit))
	}
	err := c.nc.PublishMsg(&m.msg)
	if errors.Is(err, nats.ErrMaxPayload) {
		return tooLarge(r, size, "the server does not take that (max_payload): raise it in its configuration")
	}
	return err
}

func tooLarge(r *spool.Record, size int64, limit string) error {
	err := fmt.Errorf("the record that ends at offset %d of the file with mark %s is a message of %d bytes, and %s",
		r.End.Offset, r.End.Mark, size, limit)
	return &Error{Kind: Refused, Err: err, Key: r.End.Key}
}

// header puts the headers into the message. It returns how long they are.
func (m *message) header() int64 {
	n := len("NATS/1.0\r\n\r\n")
	for i := range m.fields {
		f := &m.fields[i]
		switch {
		case f.is && !f.was:
			m.msg.Header[f.key] = f.value
		case !f.is && f.was:
			delete(m.msg.Header, f.key)
		}
		if f.was = f.is; f.is {
			n += len(f.key) + len(": ") + len(f.value[0]) + len("\r\n")
		}
	}
	return int64(n)
}
