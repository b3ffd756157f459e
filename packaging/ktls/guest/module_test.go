//go:build ktlsguest

package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKernelIsOfSuite(t *testing.T) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(uts.Release[:])
	if want := os.Getenv("KTLS_RELEASE"); release != want {
		t.Errorf("got kernel %q, want %q", release, want)
	}
	series := map[string]string{"bookworm": "6.1.", "trixie": "6.12."}
	suite := os.Getenv("KTLS_SUITE")
	if want, known := series[suite]; known && !strings.HasPrefix(release, want) {
		t.Errorf("got kernel %q of %s, want %s*", release, suite, want)
	}
}

// first is what a process without privilege got for TCP_ULP before any test, as tests run as root
// and thereby may load the module.
var first error

func TestMain(m *testing.M) {
	asked := make(chan error)
	go func() { asked <- askUnprivileged() }()
	first = <-asked
	os.Exit(m.Run())
}

// askUnprivileged asks for TLS on a socket that is not connected, which TLS refuses with ENOTCONN if
// it is there. The thread is unprivileged afterwards, and ends with its goroutine.
func askUnprivileged() error {
	if err := dropCapabilities(); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.SetsockoptString(fd, unix.SOL_TCP, unix.TCP_ULP, "tls")
}

// The kernel loads its module when a process that has CAP_NET_ADMIN wants it, never for others.
func TestTLSForSockets(t *testing.T) {
	want := map[Module]error{Loaded: unix.ENOTCONN, Loadable: unix.ENOENT, Missing: unix.ENOENT}[Here()]
	if !errors.Is(first, want) {
		t.Errorf("the first TCP_ULP, without privilege, where the module is %s: got %v, want %v", Here(), first, want)
	}
	// The order matters: with the privilege, the module gets loaded.
	for _, privileged := range []bool{true, false} {
		t.Run(fmt.Sprintf("privileged=%t", privileged), func(t *testing.T) {
			fd := connected(t)
			if !privileged {
				if err := dropCapabilities(); err != nil {
					t.Fatal(err)
				}
			}
			var want error
			if Here() == Missing {
				want = unix.ENOENT
			}
			if err := unix.SetsockoptString(fd, unix.SOL_TCP, unix.TCP_ULP, "tls"); !errors.Is(err, want) {
				t.Errorf("TCP_ULP where the module is %s: got %v, want %v", Here(), err, want)
			}
		})
	}
}

// The modules for what TLS encrypts with are here, as they are on Debian.
func TestCiphers(t *testing.T) {
	Needs(t, Loaded)
	const tls13 = 0x0304
	for _, cipher := range []struct {
		name   string
		number uint16 // TLS_CIPHER_* of linux/tls.h
		size   int    // of iv, key, salt and record sequence
	}{
		{"AES-128-GCM", 51, 8 + 16 + 4 + 8},
		{"AES-256-GCM", 52, 8 + 32 + 4 + 8},
		{"ChaCha20-Poly1305", 54, 12 + 32 + 8},
	} {
		t.Run(cipher.name, func(t *testing.T) {
			fd := connected(t)
			if err := unix.SetsockoptString(fd, unix.SOL_TCP, unix.TCP_ULP, "tls"); err != nil {
				t.Fatal(err)
			}
			var info bytes.Buffer
			binary.Write(&info, binary.NativeEndian, []uint16{tls13, cipher.number})
			info.Write(make([]byte, cipher.size))
			const tx, rx = 1, 2 // TLS_TX and TLS_RX of linux/tls.h
			for _, option := range []int{tx, rx} {
				if err := unix.SetsockoptString(fd, unix.SOL_TLS, option, info.String()); err != nil {
					t.Errorf("keys for direction %d: got %v, want none", option, err)
				}
			}
		})
	}
}

// connected returns a TCP connection's descriptor, which is valid until the test ends.
func connected(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	file, err := client.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return int(file.Fd())
}

// dropCapabilities makes the rest of a goroutine unprivileged. Its thread ends with it.
func dropCapabilities() error {
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}
