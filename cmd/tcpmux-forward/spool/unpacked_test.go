package spool

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// huge writes a compressed file that is longer than so many bytes, and returns how long it is. Its
// checksum is wrong.
func huge(t *testing.T, name string, least int64) (size int64) {
	t.Helper()
	part := strings.Repeat(recs(1, 1), 1<<20/len(recs(1, 1)))
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = z.Write([]byte(part))
	}
	if err == nil {
		err = z.Flush() // then the next part can stand by itself
	}
	f, ferr := os.Create(name)
	if err := errors.Join(err, ferr); err != nil {
		t.Fatal(err)
	}
	text := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	for size = 0; size <= least; size += int64(len(part)) {
		text = append(text, b.Bytes()...)
	}
	text = append(text, 1, 0, 0, 0xff, 0xff) // an empty last block
	text = binary.LittleEndian.AppendUint32(text, 0)
	text = binary.LittleEndian.AppendUint32(text, uint32(size))
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return size
}

// TestTheLagOfAHugeCompressedFile although such a file knows its size only modulo 4 GiB.
func TestTheLagOfAHugeCompressedFile(t *testing.T) {
	for _, least := range []int64{1 << 20, 1<<32 - 2<<20, 1<<32 + 1<<20, 9 << 30} {
		path := filepath.Join(t.TempDir(), "records.log")
		size := huge(t, rotatedName(path, 1)+".gz", least)
		if files := read(t, path).Lag(nil); files[0].Lag != size || files[0].Error != "" {
			t.Errorf("got a lag of %d and error %q, want %d and none", files[0].Lag, files[0].Error, size)
		}
	}
}

// TestTheEndOfACompressedFileIsCounted: gzip files that were put together say the size of the last
// one, and everything is to be delivered nevertheless.
func TestTheEndOfACompressedFileIsCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	var b bytes.Buffer
	for _, text := range []string{recs(1, 20), recs(21, 2)} {
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text)) // a buffer takes everything
		_ = z.Close()
	}
	put(t, rotatedName(path, 1)+".gz", b.String())
	r := read(t, path)
	ends, err := r.Ends()
	if err != nil || len(ends) != 1 || ends[0].Offset != int64(len(recs(1, 22))) {
		t.Fatalf("got %v, %v, want the end at %d", ends, err, len(recs(1, 22)))
	}
	r.Until(ends)
	if got, err := r.all(); got != recs(1, 22) {
		t.Errorf("got %d bytes, %v, want all", len(got), err)
	}
}
