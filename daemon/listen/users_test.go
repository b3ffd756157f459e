package listen

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKnowsUsers(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"the machine's", "         0          0 4294967295\n", true},
		{"PrivateUsers=yes", "         0          0          1\n       998        998          1\n", false},
		{"a container's", "         0     100000      65536\n", false},
		{"none", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "uid_map")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := knowsUsers(path); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if !knowsUsers(filepath.Join(t.TempDir(), "none")) {
		t.Error("no /proc: got false, want true")
	}
}
