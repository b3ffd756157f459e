package listen

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tcpmux/config"
)

func TestWhyASocketWasNotPassedIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faults")
	text := "127.0.0.1:1: address already in use\n127.0.0.1:11: permission denied\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, address, want string }{
		{"a cause", path, "127.0.0.1:1", "address already in use"},
		{"another cause", path, "127.0.0.1:11", "permission denied"},
		{"no cause", path, "127.0.0.1:2", errNotPassed.Error()},
		{"no file", path + ".not", "127.0.0.1:1", errNotPassed.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := notPassed(c.path, c.address).Error(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAMisfitIsAnInvalidConfiguration(t *testing.T) {
	err := error(Misfit{os.ErrNotExist})
	if !errors.Is(err, config.ErrInvalid) || !errors.Is(err, os.ErrNotExist) || err.Error() != os.ErrNotExist.Error() {
		t.Errorf("got %v, want %v and its cause", err, config.ErrInvalid)
	}
}
