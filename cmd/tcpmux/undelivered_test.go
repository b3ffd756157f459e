package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/recordfile"
)

// TestUndeliveredFilesHoldUpClients: when the disk has only what min_free leaves, clients wait
// rather than that a file goes which is not delivered. The log names the next step. Once more is
// delivered, all goes on without a reload, and nothing is missing.
func TestUndeliveredFilesHoldUpClients(t *testing.T) {
	t.Parallel()
	dir, state := t.TempDir(), t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1M"); err != nil {
		lacks(t, "mount: "+err.Error(), "run as root")
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	config := settings(t, dir, "127.0.0.1:0", "drain_timeout = \"0s\"\nmax_message = \"1KiB\"", fmt.Sprintf(`format = "json"
max_size = "16KiB"
max_backups = 2
compress = false
min_free = "256KiB"
[forward]
servers = "nats://127.0.0.1:1"
state = %q
`, state))
	d, address := daemonOf(t, config)
	conn := greeted(t, address)
	const messages, text = 3500, "message %04d, of which there are more than the disk has room for\n"
	ended := make(chan error, 1)
	go func() { ended <- sayAll(conn, text, messages) }()
	d.hear("rotated record files stay beyond what is configured until they are delivered, see tcpmux-forward status")
	d.hear("that min_free leaves to others")
	d.hear("would be removed, but stay until they are delivered: see tcpmux-forward status; tcpmux-forward --forget gives up their delivery)")
	path := filepath.Join(dir, "records.log")
	backups, err := recordfile.Backups(path)
	if err != nil || len(backups) < 20 {
		t.Fatalf("got %d backups, %v, want all since the first", len(backups), err)
	}
	all := ""
	for _, b := range backups {
		all += string(read(t, b.Path()))
	}

	mark, err := recordfile.MarkOf(backups[len(backups)-1].Path())
	if err != nil {
		t.Fatal(err)
	}
	position := delivery.Position{Key: delivery.KeyOf(path), Mark: mark}
	if err := delivery.Save(state, delivery.State{Kept: delivery.Cursor{position}}); err != nil {
		t.Fatal(err)
	}
	d.hear("records are written again")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	left, err := recordfile.Backups(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range left {
		if b.At.After(backups[len(backups)-1].At) {
			all += string(read(t, b.Path()))
		}
	}
	all += d.stops(dir)
	inOrder(t, all, messages)
}

// sayAll sends numbered messages, and returns when all are recorded.
func sayAll(conn *net.TCPConn, text string, messages int) error {
	for i := range messages {
		if _, err := fmt.Fprintf(conn, text, i); err != nil {
			return err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, conn) // the daemon closes when all is recorded
	return err
}

// inOrder checks that records hold these messages, each once.
func inOrder(t *testing.T, records string, messages int) {
	t.Helper()
	got := regexp.MustCompile(`"message \d+`).FindAllString(records, -1)
	if len(got) != messages {
		t.Errorf("got %d messages, want %d", len(got), messages)
	}
	for i, m := range got {
		if want := fmt.Sprintf(`"message %04d`, i); m != want {
			t.Fatalf("got %s, want %s", m, want)
		}
	}
}
