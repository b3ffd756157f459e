//go:build ktlsguest

package guest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// talkTime bounds the life of a client, so that a test which fails says why.
const talkTime = 20 * time.Minute

// device is a client that stays.
type device struct {
	k        *killing
	conn     *tls.Conn
	remote   string
	listener string // that it is a client of
	subject  string // of its certificate; "": it has none
	deaf     bool   // it takes what it is sent only while killing.listening
	rnd      *rand.Rand
	granted  chan struct{} // a line that it may send
	over     chan struct{} // it has sent all

	starts        []int64 // where each line begins
	sent          bytes.Buffer
	at            int64 // what of that is recorded
	bad           bool  // something was reported
	opens, closes int
}

// config returns that of a client, and its subject: every fourth has a certificate.
func (k *killing) clientConfig(i int) (config *tls.Config, subject string) {
	// The other groups take an emulated processor long.
	config = &tls.Config{RootCAs: k.authority.Pool(), ServerName: "localhost", CurvePreferences: []tls.CurveID{tls.X25519}}
	if i%4 == 0 {
		name := fmt.Sprintf("device %d", i)
		k.mu.Lock()
		config.Certificates = []tls.Certificate{k.authority.Client(name)}
		k.mu.Unlock()
		subject = "CN=" + name
	}
	return config, subject
}

// connectAll connects n devices, several at a time.
func (k *killing) connectAll(n int) {
	k.t.Helper()
	k.devices = make([]*device, n)
	errs := make([]error, n)
	var next atomic.Int64
	var connecting sync.WaitGroup
	for range 8 {
		connecting.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				k.devices[i], errs[i] = k.connect(int(i))
			}
		})
	}
	connecting.Wait()
	if err := errors.Join(errs...); err != nil {
		k.t.Fatal(err)
	}
}

// connect connects a device, and makes the handshake.
func (k *killing) connect(i int) (*device, error) {
	d := &device{
		k: k, listener: "tcpmux", deaf: i%20 == 8 || i%20 == 17, rnd: rand.New(rand.NewPCG(k.seed, uint64(1+i))),
		granted: make(chan struct{}, 10_000), over: make(chan struct{}),
	}
	address, dialer := k.address, &net.Dialer{}
	if d.deaf {
		address, dialer.Control = k.noAnswer, smallBuffers
		d.listener = "deaf"
	}
	raw, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	k.t.Cleanup(func() { _ = raw.Close() })
	var config *tls.Config
	config, d.subject = k.clientConfig(i)
	d.conn, d.remote = tls.Client(raw, config), raw.LocalAddr().String()
	_ = d.conn.SetDeadline(time.Now().Add(talkTime))
	if err := d.conn.Handshake(); err != nil {
		return nil, fmt.Errorf("client %d: %w", i, err)
	}
	return d, nil
}

// smallBuffers has a connection be of small segments, for which the other end has small buffers
// too.
func smallBuffers(_, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536)
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
		}
	})
	if err == nil {
		err = cerr
	}
	return err
}

// talk sends lines in random segments, as it may, and then ends the stream.
func (d *device) talk() {
	defer close(d.over)
	for range d.granted {
		d.starts = append(d.starts, int64(d.sent.Len()))
		line := d.line()
		d.sent.Write(line)
		for len(line) > 0 {
			n := min(len(line), 1+d.rnd.IntN(1+d.rnd.IntN(20_000)))
			if _, err := d.conn.Write(line[:n]); err != nil {
				d.k.t.Errorf("client %s: %v", d.remote, err)
				return
			}
			line = line[n:]
			if d.rnd.IntN(4) == 0 {
				time.Sleep(time.Duration(d.rnd.IntN(20)) * time.Millisecond) // a client's pace
			}
		}
		d.k.owed.add(-1)
	}
	if err := d.conn.CloseWrite(); err != nil {
		d.k.t.Errorf("client %s: %v", d.remote, err)
	}
}

// line returns the next line: of 0 to 20,000 bytes, most of them short.
func (d *device) line() []byte {
	size := d.rnd.IntN(300)
	if d.rnd.IntN(20) == 0 {
		size = d.rnd.IntN(20_001)
	}
	line := make([]byte, size, size+1)
	for i := range line {
		line[i] = 'a' + byte(d.rnd.Uint32()%26)
	}
	return append(line, '\n')
}

// Read reads what the device is sent, once it is to take that.
func (d *device) Read(b []byte) (int, error) {
	if d.deaf {
		d.k.listening.pass()
	}
	return d.conn.Read(b)
}

// hear takes the banner, acknowledgements and the end.
func (d *device) hear() {
	in := bufio.NewScanner(d)
	var offsets []int64
	for n := 0; in.Scan(); n++ {
		text, _, _ := strings.Cut(in.Text(), " ")
		offset, err := strconv.ParseInt(text, 10, 64)
		switch {
		case n == 0 && in.Text() == "hello":
			continue
		case d.deaf && err != nil: // a kill may have cut one that it did not take
			continue
		case err != nil || n == 0:
			d.k.t.Errorf("client %s: got %.40q as line %d", d.remote, in.Text(), n)
			return
		}
		if _, again := slices.BinarySearch(offsets, offset); again && !d.deaf {
			continue // those of a batch, when a kill came before they were noted
		}
		offsets = append(offsets, offset)
		d.k.acked.add(1)
	}
	if err := in.Err(); err != nil {
		d.k.t.Errorf("client %s: got %v, want the end of the stream", d.remote, err)
	}
	<-d.over
	if d.deaf { // of one that it did not take, a kill may have cut the end
		offsets = offsets[max(0, len(offsets)-1):]
		d.starts = d.starts[len(d.starts)-1:]
	}
	if !slices.Equal(offsets, d.starts) {
		d.k.t.Errorf("client %s: got acknowledgements %v, want %v", d.remote, offsets, d.starts)
	}
}

// compare compares a record of the device, and reports the first that is not as it should be.
func (d *device) compare(r *recorded) {
	subject := r.Subject
	if r.TLS != nil {
		subject = r.TLS.Subject
	}
	rest := d.sent.Bytes()[d.at:]
	message := r.Data + r.End
	switch {
	case d.bad:
		return
	case subject != d.subject:
		d.k.t.Errorf("client %s: got subject %q in a record of kind %s, want %q", d.remote, subject, r.Kind, d.subject)
	case r.Kind == "close" && r.Reason != "eof":
		d.k.t.Errorf("client %s: got closed for the reason %s, want eof", d.remote, r.Reason)
	case r.Kind == "message" && (r.Offset != d.at || !bytes.HasPrefix(rest, []byte(message)) || r.End != "\n" || r.Flag != ""):
		d.k.t.Errorf("client %s: got %.60q of %d bytes at offset %d, flag %q; want %.60q at %d", d.remote, message, len(message), r.Offset, r.Flag,
			rest[:min(len(rest), 60)], d.at)
	default:
		switch r.Kind {
		case "message":
			d.at += int64(len(message))
		case "open":
			d.opens++
		case "close":
			d.closes++
		}
		return
	}
	d.bad = true
}

// finish reports if something is not recorded.
func (d *device) finish() {
	if !d.bad && (d.at != int64(d.sent.Len()) || d.opens != 1 || d.closes != 1) {
		d.k.t.Errorf("client %s: got %d opens, %d closes and records of %d bytes, want one, one and %d", d.remote, d.opens, d.closes, d.at, d.sent.Len())
	}
}

// visit has clients come and go until the end.
func (k *killing) visit(visitor int) {
	rnd := rand.New(rand.NewPCG(k.seed, uint64(1000+visitor)))
	for n := 0; ; n++ {
		select {
		case <-k.stop:
			return
		default:
		}
		time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
		raw := k.dial(k.address, &net.Dialer{})
		_ = raw.SetDeadline(time.Now().Add(patience))
		if rnd.IntN(8) == 0 { // half a handshake
			_, _ = raw.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
			time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
		} else {
			config, _ := k.clientConfig(n)
			k.visitOnce(tls.Client(raw, config), fmt.Sprintf("visitor %d visit %d", visitor, n), rnd)
		}
		_ = raw.Close()
	}
}

// visited reports whether a visitor has come to its end.
func (k *killing) visited() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.visits, func(v visit) bool { return v.over })
}

// visitOnce has a client come that sends one and a half messages. As it has only just come, a kill
// may close it: a connection outlives the daemon some milliseconds after it was accepted.
func (k *killing) visitOnce(c *tls.Conn, name string, rnd *rand.Rand) {
	v := visit{whole: name + " whole\n", half: name + " half"}
	banner := make([]byte, len("hello\n"))
	err := c.Handshake()
	if err == nil {
		met(k.shook)
		_, err = io.ReadFull(c, banner)
	}
	if err == nil {
		if string(banner) != "hello\n" {
			k.t.Errorf("%s: got %q, want the banner", name, banner)
		}
		v.greeted = true
		v.acked, err = k.sayAndHear(c, &v, rnd)
	}
	v.over = err == nil && v.acked == 2
	k.mu.Lock()
	defer k.mu.Unlock()
	k.visits = append(k.visits, v)
}

// visit is what has become of a visitor.
type visit struct {
	whole, half   string // what it was to send
	greeted, over bool   // over: nothing has closed it before its end
	acked         int    // messages
}

// sayAndHear returns how many messages are acknowledged.
func (k *killing) sayAndHear(c *tls.Conn, v *visit, rnd *rand.Rand) (acked int, err error) {
	if rnd.IntN(2) == 0 {
		_, err = io.WriteString(c, v.whole+v.half)
	} else if _, err = io.WriteString(c, v.whole); err == nil {
		_, err = io.WriteString(c, v.half)
	}
	if err == nil {
		err = c.CloseWrite()
	}
	met(k.closed)
	rest, rerr := io.ReadAll(c)
	want := []string{"0\n", fmt.Sprintf("%d\n", len(v.whole))}
	for _, line := range strings.SplitAfter(string(rest), "\n") {
		switch i := slices.Index(want, line); {
		case line == "", 0 <= i && i < acked: // a kill may have it come again
		case i == acked:
			acked++
		default:
			k.t.Errorf("%s: got acknowledgements %q, want %q", v.half, rest, want)
		}
	}
	return acked, errors.Join(err, rerr)
}
