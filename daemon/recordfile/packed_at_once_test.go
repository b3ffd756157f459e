package recordfile

import (
	"os"
	"strings"
	"testing"

	"gopkg.in/natefinch/lumberjack.v2"
)

// hasty is a disk on which a small file is compressed before its rotation is over.
type hasty struct{ kernel }

func (hasty) rotate(l *lumberjack.Logger) error {
	err := kernel{}.rotate(l)
	if backups, berr := Backups(l.Filename); berr == nil {
		for _, b := range backups {
			if !b.Packed {
				err = (rule{}).pack(b, func() bool { return false })
			}
		}
	}
	return err
}

// TestAFileThatIsCompressedAtOnce is still rotated: nothing is written to what was removed.
func TestAFileThatIsCompressedAtOnce(t *testing.T) {
	opt := options(t)
	opt.MaxSize, opt.disk = 8, hasty{}
	opt.Trouble = func(_ Trouble, err error) { t.Errorf("told of trouble: %v", err) }
	f := open(t, opt)
	var want strings.Builder
	for _, line := range []string{"1 line\n", "2 line\n", "3 line\n", "4 line\n"} {
		write(t, f, line)
		want.WriteString(line)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := whole(t, opt.Path); got != want.String() {
		t.Errorf("got %q, want %q", got, want.String())
	}
	if _, err := os.Lstat(opt.Path); err != nil {
		t.Error(err)
	}
}
