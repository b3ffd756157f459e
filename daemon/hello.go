package daemon

import (
	"encoding/binary"
	"io"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/framing"
)

// hello is what a child has to know of its client.
type hello struct {
	framing       framing.Spec
	bounds        bounds
	age           time.Duration // of the session
	bannerTimeout time.Duration
	finishing     bool
	ackTimeout    time.Duration
	offset        int64 // where in the client's stream it goes on
	memory        int64 // what the framing has to know there
	pieces        int64 // bytes that are recorded of a message whose acknowledgement is still to come
	cut           int64 // where the process before has recorded so far
	silence       time.Duration
	unread        int          // bytes that had come before it
	moved         []byte       // the beginning of a message, from offset on
	noting        bool         // notes are kept
	banner        string       // placeholders filled in
	ack           config.Bytes // placeholders filled in, but for those that each message fills in
}

func (h hello) appendTo(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.framing.Max))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.age))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.bannerTimeout))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.ackTimeout))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.offset))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.memory))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.silence))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.unread))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.pieces))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.cut))
	dst = append(dst, bit(h.finishing), byte(h.framing.Kind), byte(h.framing.LengthSize), bit(h.framing.LittleEndian), bit(h.noting), bit(h.ack.Hex))
	for _, n := range [...]int{len(h.banner), len(h.ack.Raw), len(h.moved)} {
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return append(append(append(h.bounds.appendTo(dst), h.banner...), h.ack.Raw...), h.moved...)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func readHello(in io.Reader) (h hello, err error) {
	var head [10*8 + 1 + 3 + 2 + 3*4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return h, err
	}
	h.framing.Max = int(binary.BigEndian.Uint64(head[:]))
	h.age = time.Duration(binary.BigEndian.Uint64(head[8:]))
	h.bannerTimeout = time.Duration(binary.BigEndian.Uint64(head[16:]))
	h.ackTimeout = time.Duration(binary.BigEndian.Uint64(head[24:]))
	h.offset = int64(binary.BigEndian.Uint64(head[32:]))
	h.memory = int64(binary.BigEndian.Uint64(head[40:]))
	h.silence = time.Duration(binary.BigEndian.Uint64(head[48:]))
	h.unread = int(binary.BigEndian.Uint64(head[56:]))
	h.pieces = int64(binary.BigEndian.Uint64(head[64:]))
	h.cut = int64(binary.BigEndian.Uint64(head[72:]))
	h.finishing = head[80] == 1
	h.framing.Kind, h.framing.LengthSize, h.framing.LittleEndian = framing.Kind(head[81]), int(head[82]), head[83] == 1
	h.noting = head[84] == 1
	if h.bounds, err = readBounds(in); err != nil {
		return h, err
	}
	var texts [3][]byte
	for i := range texts {
		texts[i] = make([]byte, binary.BigEndian.Uint32(head[86+4*i:]))
		if _, err := io.ReadFull(in, texts[i]); err != nil {
			return h, err
		}
	}
	h.banner, h.ack, h.moved = string(texts[0]), config.Bytes{Raw: string(texts[1]), Hex: head[85] == 1}, texts[2]
	return h, nil
}
