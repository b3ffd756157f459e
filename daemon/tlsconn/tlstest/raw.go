package tlstest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net"
	"testing"
)

// Types of records and bodies for Raw.Send (RFC 8446, sections 4.6.3 and 5.1).
const (
	Alert     = 21
	Handshake = 22
	Data      = 23

	// KeyUpdate has the peer go on with the client's next key, and KeyUpdateRequested asks for
	// another KeyUpdate back.
	KeyUpdate          = "\x18\x00\x00\x01\x00"
	KeyUpdateRequested = "\x18\x00\x00\x01\x01"
)

// Raw is a client of TLS 1.3 that sends records which no library sends. What it hears is read from
// the *tls.Conn, to which nothing may be written.
type Raw struct {
	*tls.Conn
	t      testing.TB
	below  net.Conn
	log    bytes.Buffer
	hash   func() hash.Hash
	secret []byte // traffic secret of the client
	key    int    // bytes of a key
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// NewRaw makes a handshake over a connection.
func NewRaw(t testing.TB, below net.Conn, c *tls.Config) *Raw {
	t.Helper()
	r := &Raw{t: t, below: below}
	c = c.Clone()
	c.MinVersion, c.KeyLogWriter = tls.VersionTLS13, &r.log
	r.Conn = tls.Client(below, c)
	if err := r.Handshake(); err != nil {
		t.Fatal(err)
	}
	switch suite := r.ConnectionState().CipherSuite; suite {
	case tls.TLS_AES_128_GCM_SHA256:
		r.hash, r.key = sha256.New, 16
	case tls.TLS_AES_256_GCM_SHA384:
		r.hash, r.key = sha512.New384, 32
	default:
		t.Skipf("%s is spoken: this processor has no instructions for AES", tls.CipherSuiteName(suite))
	}
	for line := range bytes.Lines(r.log.Bytes()) {
		fields := bytes.Fields(line)
		if len(fields) == 3 && string(fields[0]) == "CLIENT_TRAFFIC_SECRET_0" {
			r.secret, _ = hex.AppendDecode(nil, fields[2])
		}
	}
	r.rekey()
	return r
}

// Renew has the records that follow encrypted with the next key.
func (r *Raw) Renew() {
	r.secret = r.expand("traffic upd", r.hash().Size())
	r.rekey()
}

func (r *Raw) rekey() {
	r.t.Helper()
	block, err := aes.NewCipher(r.expand("key", r.key))
	if err != nil {
		r.t.Fatal(err)
	}
	if r.aead, err = cipher.NewGCM(block); err != nil {
		r.t.Fatal(err)
	}
	r.iv, r.seq = r.expand("iv", r.aead.NonceSize()), 0
}

func (r *Raw) expand(label string, n int) []byte {
	r.t.Helper()
	label = "tls13 " + label
	info := string(binary.BigEndian.AppendUint16(nil, uint16(n))) + string(rune(len(label))) + label + "\x00"
	out, err := hkdf.Expand(r.hash, r.secret, info, n)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// Record returns a record with this body.
func (r *Raw) Record(kind byte, body string) []byte {
	plain := append([]byte(body), kind)
	head := []byte{Data, 3, 3}
	head = binary.BigEndian.AppendUint16(head, uint16(len(plain)+r.aead.Overhead()))
	nonce := bytes.Clone(r.iv)
	at := nonce[len(nonce)-8:]
	binary.BigEndian.PutUint64(at, binary.BigEndian.Uint64(at)^r.seq)
	r.seq++
	return r.aead.Seal(head, nonce, plain, head)
}

// Send sends a record with this body.
func (r *Raw) Send(kind byte, body string) error {
	_, err := r.below.Write(r.Record(kind, body))
	return err
}

// SendNext is Send under the next key, which follows a KeyUpdate.
func (r *Raw) SendNext(kind byte, body string) error {
	r.Renew()
	return r.Send(kind, body)
}
