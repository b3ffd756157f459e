package tlsconn

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/conn"
	"tcpmux/internal/fuzzing"
)

// arriving is a connection whose bytes arrive in pieces.
type arriving struct {
	conn.Conn
	rest  []byte
	sizes []byte // of the pieces, again and again
	next  int
}

func (a *arriving) SetReadDeadline(time.Time) {}

func (a *arriving) Wait(ready func() bool) error {
	for !ready() {
		continue // every other look finds nothing
	}
	return nil
}

func (a *arriving) Take(b []byte) (int, error) {
	size := 1
	if len(a.sizes) > 0 {
		size = int(a.sizes[a.next%len(a.sizes)])
	}
	a.next++
	if size == 0 && a.next%2 == 0 {
		return -1, unix.EAGAIN
	}
	n := copy(b[:min(max(size, 1), len(b))], a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// FuzzRecordsAreReadExactly holds that what is read during a handshake ends where a record does,
// however the records arrive and whatever room the reader has: what follows stays in the socket.
func FuzzRecordsAreReadExactly(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add([]byte("\x16\x03\x01\x00\x05hello\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x02xyrest"), []byte{1, 3, 0, 200}, uint8(3), uint8(1))
	f.Add([]byte("\x16\x03\x01\x00\x00\x16\x03\x01\x00\x00rest"), []byte{}, uint8(2), uint8(200))
	f.Add([]byte("\x16\x03"), []byte{0}, uint8(1), uint8(2))
	f.Add([]byte("\x16\x03\x03\xff\xff"+strings.Repeat("x", 1<<16)), []byte{255}, uint8(1), uint8(255))
	f.Fuzz(func(t *testing.T, stream, sizes []byte, records, room uint8) {
		want := stream // so many records
		end, whole := 0, true
		for range records {
			if len(stream)-end < recordHeadSize {
				whole = false
				break
			}
			n := recordHeadSize + int(binary.BigEndian.Uint16(stream[end+3:]))
			if whole = len(stream)-end >= n; !whole {
				break
			}
			end += n
		}
		if whole {
			want = stream[:end]
		}
		below := &arriving{rest: stream, sizes: sizes}
		w := &wire{below: below, exact: true, deadline: time.Now().Add(time.Hour)}
		var got []byte
		for done := 0; done < int(records); {
			buf := make([]byte, int(room)+1)
			n, err := w.Read(buf)
			if err == io.EOF {
				break
			}
			if err != nil || n == 0 {
				t.Fatalf("got %d and %v", n, err)
			}
			if got = append(got, buf[:n]...); w.left == 0 && w.have == 0 {
				done++
			}
		}
		if !bytes.Equal(got, want) || len(got)+len(below.rest) != len(stream) {
			t.Errorf("got %q, %d left, want %q of %q", got, len(below.rest), want, stream)
		}
		if len(stream) > 0 && records > 0 && (!w.any || w.first != stream[0]) {
			t.Errorf("first: got %d and %v, want %d", w.first, w.any, stream[0])
		}
	})
}

// FuzzWhatAClientSendsAfterItsHandshake holds that alerts and KeyUpdates are told from all else.
func FuzzWhatAClientSendsAfterItsHandshake(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add([]byte("\x18\x00\x00\x01\x01"))
	f.Add([]byte("\x18\x00\x00\x01\x00"))
	f.Add([]byte("\x01\x00"))
	f.Add([]byte("\x02\x28"))
	f.Add([]byte("\x16\x03\x01\x00\xc8\x01\x00\x00\xc4"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		request, err := parseKeyUpdate(body)
		no, yes := string(body) == "\x18\x00\x00\x01\x00", string(body) == "\x18\x00\x00\x01\x01"
		if (err == nil) != (no || yes) || request != yes {
			t.Errorf("KeyUpdate: got %v and %v", request, err)
		}
		err = parseAlert(body)
		if closes := len(body) == 2 && body[1] == alertCloseNotify; err == nil || (err == io.EOF) != closes {
			t.Errorf("alert: got %v, want close_notify: %v", err, closes)
		}
		hello := len(body) > 5 && strings.HasPrefix(string(body), "\x16\x03") && body[2] <= 4 && body[5] == 1
		if IsHello(body) != hello {
			t.Errorf("hello: got %v, want %v", !hello, hello)
		}
	})
}

// FuzzKeyLogs holds that a line of a key log gives a secret only to the direction that it names.
func FuzzKeyLogs(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	f.Add("CLIENT_TRAFFIC_SECRET_0 00ff 0123456789abcdef\n")
	f.Add("SERVER_TRAFFIC_SECRET_0 00ff 0123456789abcdeF\n")
	f.Add("CLIENT_HANDSHAKE_TRAFFIC_SECRET 00ff 01\n")
	f.Add("CLIENT_TRAFFIC_SECRET_0 00ff 012\n")
	f.Add("CLIENT_TRAFFIC_SECRET_0\n")
	f.Fuzz(func(t *testing.T, line string) {
		k := keyLog{client: []byte("client"), server: []byte("server")}
		n, err := k.Write([]byte(line))
		if n != len(line) {
			t.Errorf("got %d, want %d", n, len(line))
		}
		client, server := "client", "server"
		if fields := bytes.Fields([]byte(line)); len(fields) == 3 {
			secret, invalid := hex.DecodeString(string(fields[2]))
			switch name := string(fields[0]); {
			case name != "CLIENT_TRAFFIC_SECRET_0" && name != "SERVER_TRAFFIC_SECRET_0":
				invalid = nil
			case invalid == nil && name == "CLIENT_TRAFFIC_SECRET_0":
				client = string(secret)
			case invalid == nil:
				server = string(secret)
			}
			if (err == nil) != (invalid == nil) {
				t.Errorf("error: got %v, want %v", err, invalid)
			}
		}
		if string(k.client) != client || string(k.server) != server {
			t.Errorf("got %q and %q, want %q and %q", k.client, k.server, client, server)
		}
	})
}
