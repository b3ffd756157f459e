package state

import (
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"
)

const (
	tlsEntrySize = 1024
	// maxSecret is the size of the longest secret: that of a suite with SHA-384.
	maxSecret = 48
	// Longer names are shortened.
	maxServerName = 255
	maxSubject    = 489
)

// tlsEntry is a TLSEntry in the file. The process may be killed between any two writes, so each
// field is valid on its own, and all of them count only once established is set.
type tlsEntry struct {
	cookie      atomic.Uint64 // 0: free, and then all else is 0
	established atomic.Uint64 // 1: the kernel has the keys
	offset      atomic.Uint64 // bytes of the stream that were taken from the socket
	// Beyond offset: what offset is once the bytes under way are taken.
	target     atomic.Uint64
	last       atomic.Uint64 // the last of these bytes
	kind       atomic.Uint64 // the version << 16, and the suite
	generation atomic.Uint64 // its parity is the index of the valid secrets
	names      atomic.Uint64 // the length of the subject << 16, and of the server name
	// Where the last of the bytes under way lands; until then it is another.
	landing    byte
	_          [7]byte
	secrets    [2]tlsSecrets
	serverName [maxServerName]byte
	subject    [maxSubject]byte
}

// tlsSecrets are the secrets of both directions in the file.
type tlsSecrets struct {
	client, server       [maxSecret]byte
	clientLen, serverLen uint8
	_                    [6]byte
}

var _ [tlsEntrySize]byte = [unsafe.Sizeof(tlsEntry{})]byte{}

// Tests replace it, to look at the file between any two writes. What is written in between in
// another way counts only from the next store on.
var store = (*atomic.Uint64).Store

// Secured is what is kept of a TLS connection.
type Secured struct {
	// Version and Suite are the numbers in TLS.
	Version uint16
	Suite   uint16
	// ServerName and Subject may be any bytes. Of long ones the end is cut off, which "…"
	// shows.
	ServerName string
	Subject    string
	// Client and Server are the traffic secrets of both directions (RFC 8446, section 7.1).
	Client, Server []byte
}

// TLSEntry is the state of one connection's TLS. It is for one goroutine at a time. The methods of
// a nil TLSEntry do nothing and return zero values.
type TLSEntry struct {
	file *TLS
	at   *tlsEntry
	i    int32
}

// Begin notes a connection whose keys the kernel is about to get. It returns false if the secrets
// are none that can be kept.
func (e *TLSEntry) Begin(s Secured) bool {
	if e == nil || !fits(s.Client) || !fits(s.Server) {
		return false
	}
	store(&e.at.established, 0)
	store(&e.at.offset, 0)
	store(&e.at.target, 0)
	store(&e.at.kind, uint64(s.Version)<<16|uint64(s.Suite))
	clear(e.at.secrets[:])
	e.at.secrets[0].set(s.Client, s.Server)
	store(&e.at.generation, 0)
	name := copy(e.at.serverName[:], shortened(s.ServerName, maxServerName))
	subject := copy(e.at.subject[:], shortened(s.Subject, maxSubject))
	store(&e.at.names, uint64(subject)<<16|uint64(name))
	return true
}

// fits reports whether a secret can be kept.
func fits(secret []byte) bool { return 0 < len(secret) && len(secret) <= maxSecret }

// shortened returns text that is short enough. Longer text keeps its beginning, and ends with "…"
// and half of its SHA-256 in hexadecimal: so no two that differ become one. Package record shortens
// names of records in the same way; as leaves, the two do not know each other.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	mark := fmt.Sprintf("…%x", sum[:sha256.Size/2])
	end := most - len(mark)
	// No rune is halved.
	for least := end - utf8.UTFMax + 1; end > least && !utf8.RuneStart(text[end]); {
		end--
	}
	return text[:end] + mark
}

func (s *tlsSecrets) set(client, server []byte) {
	s.clientLen = uint8(copy(s.client[:], client))
	s.serverLen = uint8(copy(s.server[:], server))
}

// Establish notes that the kernel has the keys.
func (e *TLSEntry) Establish() {
	if e != nil {
		store(&e.at.established, 1)
	}
}

// Secured returns what Begin and Rekey have noted. ok is false unless Establish was called, and if
// the entry is damaged.
func (e *TLSEntry) Secured() (s Secured, ok bool) {
	if e == nil || e.at.established.Load() != 1 || int64(e.at.offset.Load()) < 0 {
		return s, false
	}
	names, kind := e.at.names.Load(), e.at.kind.Load()
	name, subject := names&0xffff, names>>16
	now := &e.at.secrets[e.at.generation.Load()&1]
	if name > maxServerName || subject > maxSubject || kind>>32 != 0 || now.clientLen > maxSecret || now.serverLen > maxSecret {
		return s, false
	}
	s = Secured{
		Version:    uint16(kind >> 16),
		Suite:      uint16(kind),
		ServerName: string(e.at.serverName[:name]),
		Subject:    string(e.at.subject[:subject]),
		Client:     append([]byte(nil), now.client[:now.clientLen]...),
		Server:     append([]byte(nil), now.server[:now.serverLen]...),
	}
	return s, fits(s.Client) && fits(s.Server)
}

// Taking notes that n bytes of the stream are about to be taken from the socket, of which the last
// is last. It returns where that one has to land: until then, another byte is there. What an
// earlier call has noted, and Taken has not followed, is void.
func (e *TLSEntry) Taking(n int, last byte) (landing *byte) {
	if e == nil {
		return new(byte)
	}
	offset := e.at.offset.Load()
	// first, as the byte that has landed may be last of those before.
	store(&e.at.target, offset)
	e.at.landing = ^last
	store(&e.at.last, uint64(last))
	store(&e.at.target, offset+uint64(n))
	return &e.at.landing
}

// Taken notes that they were taken.
func (e *TLSEntry) Taken() {
	if e != nil {
		store(&e.at.offset, e.at.target.Load())
	}
}

// Consumed returns how many bytes of the stream were taken from the socket. If the previous process
// was killed while it took some, the byte that has landed tells whether the kernel had let go of
// them.
func (e *TLSEntry) Consumed() int64 {
	if e == nil {
		return 0
	}
	offset, target := e.at.offset.Load(), e.at.target.Load()
	if target > offset && uint64(e.at.landing) == e.at.last.Load() {
		return int64(target)
	}
	return int64(offset)
}

// settle notes what Consumed returns, whatever lands from now on.
func (e *TLSEntry) settle() {
	if e != nil && uint64(e.Consumed()) != e.at.offset.Load() {
		e.Taken()
	}
}

// Rekey notes new secrets; an empty one does not change. The process may be killed between this and
// the change of the kernel's keys, before or after: so the secrets may be of the keys before. The
// secrets before are erased.
func (e *TLSEntry) Rekey(client, server []byte) {
	if e == nil || len(client) > maxSecret || len(server) > maxSecret {
		return
	}
	generation := e.at.generation.Load()
	now, next := &e.at.secrets[generation&1], &e.at.secrets[(generation+1)&1]
	if len(client) == 0 {
		client = now.client[:min(now.clientLen, maxSecret)]
	}
	if len(server) == 0 {
		server = now.server[:min(now.serverLen, maxSecret)]
	}
	*next = tlsSecrets{}
	next.set(client, server)
	store(&e.at.generation, generation+1)
	*now = tlsSecrets{}
}

// Renewed reports whether Rekey was called.
func (e *TLSEntry) Renewed() bool { return e != nil && e.at.generation.Load() > 0 }

// Free erases the entry and frees it. It must not be used afterwards.
func (e *TLSEntry) Free() {
	if e != nil {
		e.file.release(e.i)
	}
}

func (e *tlsEntry) owner() *atomic.Uint64 { return &e.cookie }

// clear empties the entry. The cookie comes last, so that a free entry has no secrets.
func (e *tlsEntry) clear() {
	store(&e.established, 0)
	erase := unsafe.Slice((*byte)(unsafe.Pointer(e)), tlsEntrySize)
	clear(erase[unsafe.Sizeof(e.cookie):])
	store(&e.cookie, 0)
}
