//go:build e2e

package e2e

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// readmeBlock returns the indented block that follows the first line with text in the README.
func readmeBlock(t *testing.T, behind string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), behind)
	block := regexp.MustCompile(`(?m)(^    .*\n)+`).FindString(rest)
	if block == "" {
		t.Fatalf("README.md: got no block behind %q", behind)
	}
	return regexp.MustCompile(`(?m)^    `).ReplaceAllString(block, "")
}

// greetsFrom connects to addr and waits for the banner. The kernel chooses the local address, which
// is the same as addr.
func (r *rig) greetsFrom(addr string) error {
	conn, err := r.net.dialFrom(nil, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.ReadFull(conn, make([]byte, len(banner)))
	return err
}

// The README opens the port to some networks: its lines work in the socket units, and only there.
func TestPortsForSomeNetworks(t *testing.T) {
	r := serving(t)
	stays := r.mustCall()
	r.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
	r.run("ip", "address", "add", "198.51.100.1/32", "dev", "lo")
	r.run("sysctl", "-q", "net.ipv4.tcp_syn_retries=1")
	r.edit(toml, `address = "127.0.0.1:12345"`, `address = ":12345"`)
	r.write(toml, r.read(toml)+"\n[[listener]]\nname = \"second\"\naddress = \":12346\"\n")
	lines := readmeBlock(t, "systemctl edit tcpmux.socket")
	r.write("/etc/systemd/system/tcpmux.socket.d/override.conf", lines)
	r.write("/etc/systemd/system/tcpmux-.socket.d/networks.conf", lines)
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "restart", "tcpmux.socket")
	for _, port := range []string{":12345", ":12346"} {
		for _, host := range []string{"127.0.0.1", "192.0.2.1"} {
			if err := r.greetsFrom(host + port); err != nil {
				t.Errorf("%s: got %v, want the banner", host+port, err)
			}
		}
		if err := r.greetsFrom("198.51.100.1" + port); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("%s: got %v, want no answer", "198.51.100.1"+port, err)
		}
	}
	if err := errors.Join(stays.say(3), stays.bye()); err != nil {
		t.Errorf("the client that was there: %v", err)
	}
}

// The README puts records on another disk, by a mount that survives a reboot.
func TestRecordsOnABindMount(t *testing.T) {
	r := serving(t)
	r.mustVisit()
	r.run("systemctl", "stop", "tcpmux.socket")
	r.run("sh", "-ec", "mv /var/log/tcpmux /srv/tcpmux\n"+
		strings.ReplaceAll(readmeBlock(t, "the sandbox follows no symbolic link"), "sudo ", ""))
	r.mustVisit()
	if got, want := r.read("/srv/tcpmux/records.log"), r.read(records); got != want || got == "" {
		t.Errorf("got %q at its own place, want %q", got, want)
	}
	r.reboot()
	r.mustVisit()
	if got := strings.TrimSpace(r.run("findmnt", "-no", "TARGET", "/var/log/tcpmux")); got != "/var/log/tcpmux" {
		t.Errorf("after a boot: got %q mounted, want /var/log/tcpmux", got)
	}
}
