//go:build ktlsguest

// Package guest tests what needs the kernel's TLS, on kernels of Debian. Its tests run as root in a
// machine that package ktls boots, with the programs of this tree and openssl in the path, and
// nothing else around them: no systemd, and no network but 127.0.0.1 and ::1. Each test runs on
// each kernel, and once for each thing that there may be of kernel TLS; see [Needs].
package guest

import (
	"os"
	"slices"
	"testing"
)

// Module is what there is of the module tls: loaded, loadable by those who have CAP_NET_ADMIN, or
// missing.
type Module string

const (
	Loaded   Module = "loaded"
	Loadable Module = "loadable"
	Missing  Module = "missing"
)

// Here is what there is in this machine when it starts. A loadable module stays once a test has used
// it, as tests run as root: what must come before that is for TestMain.
func Here() Module { return Module(os.Getenv("KTLS_MODULE")) }

// Needs skips a test where there is none of modules.
func Needs(t *testing.T, modules ...Module) {
	t.Helper()
	if !slices.Contains(modules, Here()) {
		t.Skipf("the module tls is %s", Here())
	}
}
