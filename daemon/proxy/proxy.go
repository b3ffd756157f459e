// Package proxy reads and writes the header of the PROXY protocol, versions 1 and 2, in which a
// proxy names the client of a connection
// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). The parser never looks at bytes
// after the header, and rejects everything that is not a header.
package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// MaxSize is the size in bytes that a header may have. Proxies send more than addresses, in values
// of a few KiB, such as the certificate of a client (section 2.2.5).
const MaxSize = 16 << 10

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
	maxSize1   = 107 // of version 1, including the line end (section 2.1)
	minSize2   = 16  // of version 2, without addresses
)

// The errors of Parse, in the sense of errors.Is.
var (
	// ErrAbsent reports that the bytes are not a header.
	ErrAbsent = errors.New("there is none, but other bytes")
	// ErrTooLarge reports a header that is larger than MaxSize, or than version 1 allows.
	ErrTooLarge = errors.New("it is too large")
	// ErrUnix reports a header for a connection over a Unix socket, and ErrUDP one for
	// datagrams. Neither can belong to the client of a TCP listener.
	ErrUnix = errors.New("it is for a Unix socket, want one for TCP")
	ErrUDP  = errors.New("it is for UDP, want one for TCP")
	// ErrMalformed reports a header that violates the protocol.
	ErrMalformed = errors.New("it is malformed")
)

// Header is a parsed header.
type Header struct {
	// Size is its size in bytes.
	Size int
	// Client is the address of the client. It is the zero value if the proxy connects for
	// itself, as for a health check, or does not know the client.
	Client netip.AddrPort
}

// Parse parses the header at the start of b. The Size is 0 if b is only the beginning of a header:
// call Parse again with more bytes.
func Parse(b []byte) (Header, error) {
	switch {
	case hasPrefix(b, signature2):
		return parse2(b)
	case hasPrefix(b, signature1):
		return parse1(b)
	}
	return Header{}, ErrAbsent
}

// hasPrefix reports whether b begins with text, or is the beginning of text.
func hasPrefix(b []byte, text string) bool {
	n := min(len(b), len(text))
	return string(b[:n]) == text[:n]
}

// parse1 parses version 1: a line of text.
func parse1(b []byte) (h Header, err error) {
	end := bytes.Index(b[:min(len(b), maxSize1)], []byte("\r\n"))
	if end < 0 {
		if len(b) >= maxSize1 {
			return h, fmt.Errorf("%w: want %d bytes at most in version 1", ErrTooLarge, maxSize1)
		}
		return h, nil
	}
	h.Size = end + 2
	fields := strings.Split(string(b[len(signature1):max(end, len(signature1))]), " ")
	if fields[0] == "UNKNOWN" {
		return h, nil
	}
	switch {
	case strings.HasPrefix(fields[0], "UDP"):
		return Header{}, ErrUDP
	case strings.HasPrefix(fields[0], "UNIX"):
		return Header{}, ErrUnix
	case len(fields) != 5:
		return Header{}, ErrMalformed
	}
	client, ok1 := address1(fields[0], fields[1], fields[3])
	_, ok2 := address1(fields[0], fields[2], fields[4])
	if !ok1 || !ok2 {
		return Header{}, ErrMalformed
	}
	h.Client = client
	return h, nil
}

// address1 parses an address of version 1 and its port, which must not have leading zeros.
func address1(family, host, port string) (addr netip.AddrPort, ok bool) {
	a, err := netip.ParseAddr(host)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || a.Zone() != "" || strconv.FormatUint(n, 10) != port {
		return addr, false
	}
	ok = family == "TCP4" && a.Is4() || family == "TCP6" && a.Is6()
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}

// Version and command, family and protocol of version 2 (section 2.2).
const (
	local2, proxied2 = 0x20, 0x21
	tcp4, tcp6       = 0x11, 0x21
	udp4, udp6       = 0x12, 0x22
	stream, datagram = 0x31, 0x32 // over a Unix socket
	unspecified      = 0x00
)

// parse2 parses version 2, which is binary. Values after the addresses are skipped.
func parse2(b []byte) (h Header, err error) {
	if len(b) < minSize2 {
		return h, nil
	}
	size := minSize2 + int(binary.BigEndian.Uint16(b[14:]))
	command, family := b[12], b[13]
	switch {
	case command != local2 && command != proxied2:
		return h, ErrMalformed
	case size > MaxSize:
		return h, fmt.Errorf("%w: %d bytes, want %d at most", ErrTooLarge, size, MaxSize)
	}
	if len(b) < size {
		return h, nil
	}
	body := b[minSize2:size]
	h.Size = size
	switch {
	case command == local2 || family == unspecified:
	case family == tcp4 && len(body) >= 12:
		h.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
	case family == tcp6 && len(body) >= 36:
		h.Client = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
	case family == udp4 || family == udp6:
		return Header{}, ErrUDP
	case family == stream || family == datagram:
		return Header{}, ErrUnix
	default:
		return Header{}, ErrMalformed
	}
	return h, nil
}
