package recordfile

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Mark names a record file for good: neither rotation nor another name nor compression changes it.
// It is made from how the first line begins, and no two record files begin with the same record.
type Mark string

const (
	markBytes = 12 // of the hash
	// markedSize is how much of the first line counts. In JSON a record says within less of it
	// when it was made and of which session it is.
	markedSize = 512
)

// Valid reports whether m has the form of a mark.
func (m Mark) Valid() bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(m))
	// The decoder skips line ends.
	return err == nil && len(b) == markBytes && len(m) == base64.RawURLEncoding.EncodedLen(markBytes)
}

// ReadMark returns the mark of a file from its first bytes, uncompressed. It returns "" as long as
// there is no first line.
func ReadMark(r io.Reader) (Mark, error) {
	var b [markedSize]byte
	n, err := io.ReadFull(r, b[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	line := b[:n]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i+1]
	} else if n < markedSize {
		return "", nil
	}
	sum := sha256.Sum256(line)
	return Mark(base64.RawURLEncoding.EncodeToString(sum[:markBytes])), nil
}

// MarkOf returns the mark of the file at path, which may be compressed with gzip if its name ends
// in ".gz". It follows no symbolic link.
func MarkOf(path string) (Mark, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close() // nothing was written
	if !strings.HasSuffix(path, packedSuffix) {
		return ReadMark(f)
	}
	z, err := gzip.NewReader(f)
	if errors.Is(err, io.EOF) {
		return "", nil // an empty file
	}
	if err != nil {
		return "", err
	}
	// ReadMark would take the middle of a damaged file for its end.
	head, err := io.ReadAll(io.LimitReader(z, markedSize))
	if err != nil {
		return "", err
	}
	return ReadMark(bytes.NewReader(head))
}
