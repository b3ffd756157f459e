//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutIPv6 is the argument that has this program run a rig's first process without IPv6
// (RIG_PREFIX in boot.sh).
const withoutIPv6 = "without-ipv6"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == withoutIPv6 {
		fmt.Fprintln(os.Stderr, becomeWithoutIPv6(os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// becomeWithoutIPv6 executes a command for which there is no IPv6, nor for its descendants:
// socket(2) fails as it does when the kernel was booted with ipv6.disable=1.
func becomeWithoutIPv6(args []string) error {
	runtime.LockOSThread()
	const number, family = 0, 16 // of struct seccomp_data, seccomp(2)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_SOCKET},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: family},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.AF_INET6},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	return syscall.Exec("/usr/bin/env", append([]string{"env"}, args...), os.Environ())
}

// ":12345" means all addresses that exist. systemd opens no port of a socket unit if it cannot open
// one of them.
func TestAllAddressesWithoutIPv6(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := boot(t, "RIG_PREFIX="+self+" "+withoutIPv6)
	r.install(newDeb)
	r.write(toml, r.read(toml)+second(":12346", ""))
	r.move(shipped, `address = ":12345"`)
	r.visitAt(port, banner)
	r.visitAt(secondPort, banner)
	r.wantState("tcpmux.socket", "active")
	r.wantState("tcpmux-second.socket", "active")
	if said := r.journal(); strings.Contains(said, "differ from the configuration") || strings.Contains(said, "not served") {
		t.Errorf("journal: got %s, want nothing amiss", said)
	}

	// The same where the daemon binds its own sockets.
	r.write("/etc/own.toml", "address = \":12347\"\n[record]\nfile = \"/tmp/own.log\"\n")
	r.run("systemd-run", "--unit=own", "--service-type=notify", "/usr/bin/tcpmux", "run", "--config", "/etc/own.toml")
	// This is no talker, whose lines would be expected in the other daemon's records.
	conn, err := r.net.dial("127.0.0.1:12347")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(conn).ReadString('\n'); got != banner {
		t.Errorf("a daemon that binds by itself: got %q, %v, want %q", got, err, banner)
	}
	_ = conn.Close()
	r.run("systemctl", "stop", "own.service")
}
