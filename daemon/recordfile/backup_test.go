package recordfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
		{"records-2026-11-22T13-05-41,118.log", "records-2026-11-22T13-05-41,118.log", false},
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

func TestNewest(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		path  string
		files []string
		want  string
	}{
		{"none/records.log", nil, ""},
		{"empty/records.log", []string{"records.log", "records-old.log", "other-2026-11-22T13-05-41.100.log"}, ""},
		{"a/records.log", []string{"records-2026-11-22T13-05-41.200.log", "records-2026-11-22T13-05-41.300.log", "records-2026-11-22T13-05-41.100.log.gz"},
			"a/records-2026-11-22T13-05-41.300.log"},
		{"b/records.log", []string{"records-2026-11-22T13-05-41.200.log", "records-2026-11-22T13-05-41.200.log.gz", "records-2026-11-22T13-05-41.300.log.gz.tmp"},
			"b/records-2026-11-22T13-05-41.200.log.gz"},
		{"c/records.log", []string{"records-2026-11-22T13-05-41.200.log", "records-2027-11-22T13-05-41.200.txt", "records-9.log"},
			"c/records-2026-11-22T13-05-41.200.log"},
		{"d/records", []string{"records-2026-11-22T13-05-41.200", "records-2026-11-22T13-05-41.300.gz"}, "d/records-2026-11-22T13-05-41.300.gz"},
		{"e/records.log", []string{"records-2026-11-22T13-05-41.200.log", "records-2027-11-22T13-05-41.200.log/"}, "e/records-2026-11-22T13-05-41.200.log"},
	} {
		for _, name := range c.files {
			path := filepath.Join(dir, filepath.Dir(c.path), name)
			err := os.MkdirAll(filepath.Dir(path), 0o700)
			if strings.HasSuffix(name, "/") {
				err = errors.Join(err, os.Mkdir(path, 0o700))
			} else {
				err = errors.Join(err, os.WriteFile(path, nil, 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		b, ok := newest(filepath.Join(dir, c.path))
		if ok != (c.want != "") || ok && b.Path() != filepath.Join(dir, c.want) {
			t.Errorf("%s: got %v, %v, want %q", c.path, b, ok, c.want)
		}
	}
}
