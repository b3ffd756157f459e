package recordfile

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestFileIsRotatedOnRequest(t *testing.T) {
	opt := options(t)
	f := open(t, opt)
	if rotated, err := f.Rotate(); rotated || err != nil {
		t.Errorf("empty file: got %v and error %v, want no rotation", rotated, err)
	}
	write(t, f, "one\n")
	if rotated, err := f.Rotate(); !rotated || err != nil {
		t.Errorf("got %v and error %v, want a rotation", rotated, err)
	}
	write(t, f, "two\n")
	if got := read(t, opt.Path); got != "two\n" {
		t.Errorf("got %q in the file, want what came later", got)
	}
	if got := whole(t, opt.Path); got != "one\ntwo\n" {
		t.Errorf("got %q in all files, want both lines", got)
	}
	if err := os.Rename(opt.Path, opt.Path+".moved"); err != nil {
		t.Fatal(err)
	}
	if rotated, err := f.Rotate(); rotated || err != nil {
		t.Errorf("moved file: got %v and error %v, want a new file and no rotation", rotated, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Rotate(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed file: got error %v, want ErrClosed", err)
	}
}
