package spool

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"io"
	"math"
	"os"
)

const (
	// mostRatio is how many times longer than compressed a file can be, by the format (RFC
	// 1951).
	mostRatio = 1032
	// modulus is that of the size which a compressed file says (RFC 1952, section 2.3.1).
	modulus = 1 << 32
)

// unpackedSize returns how long a compressed file is uncompressed. Its last bytes say that, but for
// multiples of 4 GiB. How many these are follows from how well the beginning is compressed.
func unpackedSize(f *os.File, stored int64) int64 {
	var b [4]byte
	if _, err := f.ReadAt(b[:], max(0, stored-4)); err != nil {
		return 0
	}
	size := int64(binary.LittleEndian.Uint32(b[:]))
	if stored < modulus/mostRatio {
		return size
	}
	likely := float64(stored) * ratio(f, stored, 64<<10)
	if likely > modulus/4 {
		likely = float64(stored) * ratio(f, stored, 4<<20)
	}
	return size + modulus*int64(max(0, math.Round((likely-float64(size))/modulus)))
}

// ratio returns how many times longer the first n bytes of a file are than compressed. It is 0 if
// they cannot be read.
func ratio(f *os.File, stored, n int64) float64 {
	section := io.NewSectionReader(f, 0, stored)
	in := bufio.NewReader(section)
	z, err := gzip.NewReader(in)
	if err != nil {
		return 0
	}
	n, _ = io.CopyN(io.Discard, z, n) // what could be read counts
	read, err := section.Seek(0, io.SeekCurrent)
	if read -= int64(in.Buffered()); err != nil || read <= 0 {
		return 0
	}
	return float64(n) / float64(read)
}

// ends returns where a compressed file ends. It reads all of it, because what a file says of itself
// may be wrong. If it is damaged, that counts nevertheless.
func ends(e entry) int64 {
	f, _, err := openRegular(e.name)
	if err != nil {
		return e.ends
	}
	defer f.Close() // nothing was written
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return e.ends
	}
	n, err := io.Copy(io.Discard, z)
	if err != nil {
		return e.ends
	}
	return n
}
