package recordfile

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestParseBackup(t *testing.T) {
	at := time.Date(2026, 11, 22, 13, 5, 41, 118e6, time.UTC)
	for _, c := range []struct {
		path, of string
		ok       bool
	}{
		{"/var/log/records-2026-11-22T13-05-41.118.log", "/var/log/records.log", true},
		{"records-2026-11-22T13-05-41.118.log.gz", "records.log", true},
		{"a.b/records-2026-11-22T13-05-41.118", "a.b/records", true},
		{"records-2026-11-22T13-05-41.118.gz", "records", true},
		{"records.log", "records.log", false},
		{"records-2026-11-31T13-05-41.118.log", "records-2026-11-31T13-05-41.118.log", false},
		{"-2026-11-22T13-05-41.118.log", ".log", true},
		{"x", "x", false},
		{"./a//records-2026-11-22T13-05-41.118.log", "a/records.log", true},
		{"./records.log", "records.log", false},
	} {
		b, ok := ParseBackup(c.path)
		if b.Of != c.of || ok != c.ok || ok != b.At.Equal(at) {
			t.Errorf("%q: got %q, %v, %v, want %q, %v", c.path, b.Of, b.At, ok, c.of, c.ok)
		}
		if want := filepath.Clean(c.path); ok && b.Path() != want {
			t.Errorf("%+v: got path %q, want %q", b, b.Path(), want)
		}
	}
}

func TestBackups(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"records.log", "records-2026-11-22T13-05-41.200.log.gz", "records-2026-11-22T13-05-41.100.log", "records-2026-11-22T13-05-41.100.log.gz",
		"records-2026-11-22T13-05-41.300.log.gz.tmp", "records-old.log", "other-2026-11-22T13-05-41.100.log", ".records.log.lock",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Backups(filepath.Join(dir, "records.log"))
	at := time.Date(2026, 11, 22, 13, 5, 41, 100e6, time.UTC)
	path := filepath.Join(dir, "records.log")
	want := []Backup{{Of: path, At: at}, {Of: path, At: at.Add(100 * time.Millisecond), Packed: true}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
