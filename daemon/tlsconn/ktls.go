package tlsconn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of include/uapi/linux/tls.h.
const (
	solTLS        = 282
	tlsTX         = 1
	tlsRX         = 2
	setRecordType = 1
	getRecordType = 2
)

// Types of TLS records (RFC 8446, section 5.1), and those of messages in them.
const (
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23

	alertWarning     = 1
	alertCloseNotify = 0

	messageKeyUpdate = 24
)

// prepare makes a socket one whose records the kernel can encrypt and decrypt; until it has the
// keys nothing changes. It works while the connection is established, that is until the client
// closes.
func prepare(fd uintptr) error {
	err := unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_ULP, "tls")
	switch err {
	case unix.EEXIST: // it is one: a process has died before the handshake
		return nil
	case unix.ENOENT:
		return errors.New(`the kernel has no TLS: as root, "modprobe tls"`)
	}
	return os.NewSyscallError("setsockopt", err)
}

// Probe says why the kernel cannot encrypt and decrypt; nil if it can.
func Probe() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := prepare(uintptr(fd)); !errors.Is(err, unix.ENOTCONN) {
		return err // of a kernel that has no TLS: one that has asks for a connection next
	}
	return nil
}

// setKey gives the kernel the key of a direction.
func setKey(fd uintptr, direction int, s *suite, secret []byte) error {
	info, err := s.cryptoInfo(secret)
	if err != nil {
		return err
	}
	defer clear(info)
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, fd, solTLS, uintptr(direction),
		uintptr(unsafe.Pointer(&info[0])), uintptr(len(info)), 0)
	if errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return nil
}

// State is what the kernel has of a socket's TLS.
type State uint8

// States of a socket.
const (
	Clear      State = iota // it has never heard of TLS
	Encrypting              // it has the keys of both directions
	Partial                 // it has one key: a process died in between
	Prepared                // it is for TLS, and has no keys
)

// StateOf asks the kernel about the socket fd, and whether anything was sent with its keys.
func StateOf(fd uintptr) (s State, sent bool) {
	if !forTLS(fd) {
		return Clear, false
	}
	out, hasOut := recordsOf(fd, tlsTX)
	_, hasIn := recordsOf(fd, tlsRX)
	switch {
	case hasOut && hasIn:
		return Encrypting, out > 0
	case hasOut || hasIn:
		return Partial, out > 0
	}
	return Prepared, false
}

// forTLS reports whether the socket fd was made one for TLS (tcp(7), TCP_ULP), without which it has
// no keys.
func forTLS(fd uintptr) bool {
	var name [16]byte // TCP_ULP_NAME_MAX
	size := uint32(len(name))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_ULP,
		uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && unix.ByteSliceToString(name[:size]) == "tls"
}

// recordsOf returns how many records were encrypted, or decrypted, with the key of a direction, if
// there is one.
func recordsOf(fd uintptr, direction int) (n uint64, ok bool) {
	var info [64]byte // larger than any
	head := info[:4]  // of the head alone the kernel tells which cipher it is
	if !getInfo(fd, direction, head) {
		return 0, false
	}
	kind := binary.NativeEndian.Uint16(head[2:])
	for _, s := range suites {
		if s.kernel != kind {
			continue
		}
		all := info[:4+ivSize+s.key+seqSize]
		if !getInfo(fd, direction, all) {
			return 0, false
		}
		n = binary.BigEndian.Uint64(all[len(all)-seqSize:])
		clear(info[:])
		return n, true
	}
	return 0, true
}

// inForce returns the secret whose key the kernel has: secret, or the one after it, when a process
// has died before it could note that.
func (s *suite) inForce(fd uintptr, direction int, secret []byte) []byte {
	all := make([]byte, 4+ivSize+s.key+seqSize)
	if !getInfo(fd, direction, all) {
		return secret
	}
	defer clear(all)
	key := all[4 : len(all)-seqSize]
	next, err := s.next(secret)
	if err != nil {
		return secret
	}
	if info, err := s.cryptoInfo(next); err == nil && bytes.Equal(info[4:len(info)-seqSize], key) {
		return next
	}
	return secret
}

func getInfo(fd uintptr, direction int, to []byte) bool {
	n := uint32(len(to))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, solTLS, uintptr(direction),
		uintptr(unsafe.Pointer(&to[0])), uintptr(unsafe.Pointer(&n)), 0)
	return errno == 0
}

// receive is recvmsg(2) into two buffers, of which either may be empty, without waiting. It returns
// the type of the records that it has bytes of; 0 if the kernel has not said, as at the end of the
// connection.
func receive(fd uintptr, first, second []byte, flags int) (n int, kind byte, err error) {
	// Each client that waits has called this: its stack is to be large enough for it, and no
	// larger.
	var iov [2]unix.Iovec
	filled := 0
	if len(first) > 0 {
		iov[0].Base = &first[0]
		iov[0].SetLen(len(first))
		filled++
	}
	if len(second) > 0 {
		iov[filled].Base = &second[0]
		iov[filled].SetLen(len(second))
		filled++
	}
	var control [4]uint64 // aligned
	head := unix.Msghdr{Iov: &iov[0], Control: (*byte)(unsafe.Pointer(&control))}
	head.SetIovlen(filled)
	head.SetControllen(len(control) * 8)
	for {
		got, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&head)), uintptr(flags|unix.MSG_DONTWAIT))
		switch errno {
		case 0:
			return int(got), recordType(&control, int(head.Controllen)), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return -1, 0, unix.EAGAIN // no allocation
		default:
			return -1, 0, errno
		}
	}
}

// recordType returns that of a control message of n bytes, if it is one that tells.
func recordType(control *[4]uint64, n int) byte {
	head := (*unix.Cmsghdr)(unsafe.Pointer(control))
	if n < unix.CmsgLen(1) || head.Level != solTLS || head.Type != getRecordType {
		return 0
	}
	return (*[len(control) * 8]byte)(unsafe.Pointer(control))[unix.CmsgLen(0)]
}

// sendRecord sends a record of a type that is not data, if the kernel takes it at once.
func sendRecord(fd uintptr, kind byte, body []byte) error {
	control := make([]byte, unix.CmsgSpace(1))
	head := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	head.Level, head.Type = solTLS, setRecordType
	head.SetLen(unix.CmsgLen(1))
	control[unix.CmsgLen(0)] = kind
	_, err := unix.SendmsgN(int(fd), body, control, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	return os.NewSyscallError("sendmsg", err)
}

// alertError is an alert with which the client has ended the connection (RFC 8446, section 6).
type alertError byte

// Error implements error.
func (e alertError) Error() string {
	return fmt.Sprintf("the client ended the connection with TLS alert %d", byte(e))
}

// Is has it be taken for a connection that was broken off.
func (alertError) Is(target error) bool { return target == unix.ECONNRESET }
