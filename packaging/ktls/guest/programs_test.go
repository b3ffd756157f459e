//go:build ktlsguest

package guest

import (
	"os/exec"
	"strings"
	"testing"
)

// What tests execute is in the path, and finds its libraries.
func TestPrograms(t *testing.T) {
	for _, command := range []string{"tcpmux --version", "tcpmux-forward --version", "tcpmux-bench --version", "openssl version", "ip address"} {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}
