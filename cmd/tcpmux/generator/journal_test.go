package generator

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestToJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := toJournal(path, Error, "one\nPRIORITY=0"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	want := "MESSAGE=one PRIORITY=0\nPRIORITY=3\nSYSLOG_IDENTIFIER=tcpmux-generator\nOBJECT_SYSTEMD_UNIT=tcpmux.socket\n"
	if string(b[:n]) != want {
		t.Errorf("got %q, want %q", b[:n], want)
	}
}

// A journal that takes nothing, as while PID 1 waits for us, must not keep us.
func TestFullJournalIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 100_000 { // net.unix.max_dgram_qlen is 10 to 512
		if err := toJournal(path, Error, "line"); err != nil {
			return
		}
	}
	t.Error("got no error from a full socket, want one")
}

func TestToKernel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one", "two\n<0>panic"} {
		if err := toKernel(path, Warning, line); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("<4>tcpmux-generator[%[1]d]: one\n<4>tcpmux-generator[%[1]d]: two <0>panic\n", os.Getpid())
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A pipe stands for a kernel log in some containers.
func TestKernelLogThatNobodyReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := toKernel(path, Error, "line"); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("without a reader: got %v, want %v", err, syscall.ENXIO)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for err == nil { // until the pipe is full
		err = toKernel(path, Error, strings.Repeat("x", 1000))
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("full: got %v, want %v", err, syscall.EAGAIN)
	}
}
