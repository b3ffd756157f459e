package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// listenerText is a [[listener]] with a name and a port, and more lines.
func listenerText(name string, port int, more ...string) string {
	return fmt.Sprintf("[[listener]]\nname = %q\naddress = \"127.0.0.1:%d\"\n%s", name, port, strings.Join(append(more, ""), "\n"))
}

// inDropIns writes files below a new directory, by their paths, and returns the path of the main one.
func inDropIns(t *testing.T, files map[string]string) (main string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "main.toml")
}

func TestDropInDir(t *testing.T) {
	t.Chdir("/etc")
	for path, want := range map[string]string{
		DefaultPath: "/etc/tcpmux.d", "//etc/./tcpmux.toml": "/etc/tcpmux.d", "tcpmux.toml": "/etc/tcpmux.d",
		"/x/foo.toml": "/x/foo.toml.d", "foo": "foo.d", "/etc/tcpmux.toml.new": "/etc/tcpmux.toml.new.d",
	} {
		if got := DropInDir(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestDropIns(t *testing.T) {
	main := inDropIns(t, map[string]string{
		"main.toml":                   "banner = \"top\"\n" + listenerText("own", 1),
		"main.toml.d/b.toml":          listenerText("b", 3) + listenerText("c", 4, `banner = "c"`),
		"main.toml.d/B.toml":          listenerText("upper", 2),
		"main.toml.d/10.toml":         "# nothing yet\n",
		"main.toml.d/9.toml":          listenerText("nine", 5),
		"main.toml.d/.hidden.toml":    "not TOML",
		"main.toml.d/b.toml~":         "not TOML",
		"main.toml.d/b.toml.dpkg-new": "not TOML",
		"main.toml.d/README":          "not TOML",
		"main.toml.d/sub/d.toml":      "not TOML",
	})
	c, err := Load(main)
	if err != nil || len(c.Warnings) > 0 {
		t.Fatalf("got %v and warnings %q, want none", err, c.Warnings)
	}
	dir := main + ".d/"
	var got []string
	for _, l := range c.Listeners {
		got = append(got, strings.Join([]string{l.Name, l.Banner.Raw, strings.TrimPrefix(l.Source, main)}, " "))
	}
	want := []string{"tcpmux top ", "own top ", "nine top .d/9.toml", "upper top .d/B.toml", "b top .d/b.toml", "c c .d/b.toml"}
	if !slices.Equal(got, want) {
		t.Errorf("listeners: got %q, want %q", got, want)
	}
	if want := []string{dir + "10.toml", dir + "9.toml", dir + "B.toml", dir + "b.toml"}; !slices.Equal(c.DropIns, want) {
		t.Errorf("drop-ins: got %q, want %q", c.DropIns, want)
	}

	// All as one text, in which everything stands in one file.
	text := written(t, c)
	back, err := Parse(main, []byte(text))
	if err != nil || back.DropIns != nil || len(back.Listeners) != len(c.Listeners) {
		t.Fatalf("got %+v and %v, want the listeners in one file", back, err)
	}
	if again := written(t, back); again != text {
		t.Errorf("got\n%s\nwant\n%s", again, text)
	}
	if r, err := Read(strings.NewReader(text), main); err != nil || r.DropIns != nil {
		t.Errorf("got drop-ins %q and %v, want none", r.DropIns, err)
	}
}

func TestDropInsAlone(t *testing.T) {
	c, err := Load(inDropIns(t, map[string]string{"main.toml": "address = []\n", "main.toml.d/a.toml": listenerText("a", 1)}))
	if err != nil || len(c.Listeners) != 1 || c.Listeners[0].Name != "a" {
		t.Errorf("got %+v and %v, want the listener of the drop-in", c.Listeners, err)
	}
	if _, err := Load(inDropIns(t, map[string]string{"main.toml": "address = []\n", "main.toml.d/a.toml": ""})); err == nil || !strings.Contains(err.Error(), "at least one address") {
		t.Errorf("got %v, want an error: there is no listener", err)
	}
}

// TestNoMainFile holds that drop-ins do not stand in for a main file that is missing.
func TestNoMainFile(t *testing.T) {
	main := inDropIns(t, map[string]string{"main.toml.d/a.toml": "not TOML"})
	if _, err := Load(main); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestBadDropIns holds the messages for directories of testdata. With -update it writes them: review
// the diff.
func TestBadDropIns(t *testing.T) {
	t.Chdir("testdata/dropins")
	files, _ := filepath.Glob("*.toml")
	if len(files) == 0 {
		t.Fatal("got no files, want some")
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			c, err := Load(file)
			if err == nil || !errors.Is(err, ErrInvalid) || !reflect.DeepEqual(c, Config{Warnings: c.Warnings}) {
				t.Fatalf("got %+v and %v, want warnings at most and an error", c, err)
			}
			text := err.Error() + "\n"
			for _, w := range c.Warnings {
				text += "warning: " + w + "\n"
			}
			golden(t, strings.TrimSuffix(file, "toml")+"want", text)
		})
	}
}

// TestUnreadableDropIns holds that what cannot be read is one error among those of other files, and
// never that the main file does not exist.
func TestUnreadableDropIns(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(dir string) error
		want string // below the directory
	}{
		{"a directory", func(dir string) error { return os.Mkdir(dir+"/a.toml", 0o755) }, "/a.toml: cannot be read: is a directory, want a regular file"},
		{"a pipe", func(dir string) error { return syscall.Mkfifo(dir+"/a.toml", 0o644) }, "/a.toml: cannot be read: is a pipe, want a regular file"},
		{"a device", func(dir string) error { return os.Symlink("/dev/null", dir+"/a.toml") }, "/a.toml: cannot be read: is a device or socket, want a regular file"},
		{"a link to nothing", func(dir string) error { return os.Symlink("none", dir+"/a.toml") }, "/a.toml: cannot be read: no such file or directory"},
		{"a loop", func(dir string) error { return os.Symlink("a.toml", dir+"/a.toml") }, "/a.toml: cannot be read: too many levels of symbolic links"},
		{"too long", func(dir string) error { return os.WriteFile(dir+"/a.toml", make([]byte, maxFile+1), 0o644) }, "/a.toml: cannot be read: longer than 1MiB"},
		{"too long together", func(dir string) error {
			half := []byte(strings.Repeat("#", maxFile/2+1))
			return errors.Join(os.WriteFile(dir+"/a.toml", half, 0o644), os.WriteFile(dir+"/b.toml", half, 0o644), os.WriteFile(dir+"/c.toml", half, 0o644))
		}, "/b.toml: is too long: the drop-ins up to it are longer than 1MiB together"},
		{"too many", func(dir string) error {
			for i := range maxDropIns + 1 {
				if err := os.WriteFile(fmt.Sprintf("%s/%d.toml", dir, i), nil, 0o644); err != nil {
					return err
				}
			}
			return nil
		}, ": cannot be read: it has more than 1000 files *.toml"},
		{"no directory", func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o644)) }, ": cannot be read: not a directory"},
		{"a pipe for a directory", func(dir string) error { return errors.Join(os.Remove(dir), syscall.Mkfifo(dir, 0o644)) }, ": cannot be read: not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// Its other faults are reported too, but not that nobody uses the top's start.
			main := inDropIns(t, map[string]string{"main.toml": "address = []\nbacklog = -1\nstart = \"x\"\n"})
			dir := main + ".d"
			if err := errors.Join(os.Mkdir(dir, 0o755), tc.make(dir)); err != nil {
				t.Fatal(err)
			}
			_, err := Load(main)
			want := main + ":2: backlog is -1, want a whole number from 1 to 1000000\n" + dir + tc.want
			if err == nil || err.Error() != want || errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrInvalid) {
				t.Errorf("got\n%v\nwant\n%s", err, want)
			}
		})
	}
}

// TestDropInsWithoutPermission needs a user whom the modes of files concern.
func TestDropInsWithoutPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read every file")
	}
	main := inDropIns(t, map[string]string{"main.toml": "", "main.toml.d/a.toml": ""})
	for _, path := range []string{main + ".d/a.toml", main + ".d"} {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(main); fmt.Sprint(err) != path+": cannot be read: permission denied" {
			t.Errorf("got %v, want that %s cannot be read", err, path)
		}
	}
	if err := os.Chmod(main+".d", 0o700); err != nil { // so that it can be removed
		t.Fatal(err)
	}
}

func TestWarningsOfDropIns(t *testing.T) {
	main := inDropIns(t, map[string]string{
		"main.toml":          "idle_timeout = \"5ms\"\nexec_timeout = \"5s\"\n",
		"main.toml.d/a.toml": listenerText("a", 1, `exec = ["/bin/cat"]`),
		"main.toml.d/b.toml": listenerText("b", 2, `banner = "{clint}"`),
	})
	c, err := Load(main)
	want := []string{
		`:1: idle_timeout is "5ms": most clients are closed before they have sent anything`,
		`.d/a.toml:1: listener "a": idle_timeout (inherited from ` + main + `:1) is "5ms" and has no effect with exec unless record = true: exec_timeout limits a program`,
		`.d/b.toml:4: listener "b": banner has "{clint}", which is sent as written: the placeholders are {client}, {server}, {listener}, {session}, {time}, {hostname}`,
	}
	for i := range want {
		want[i] = main + want[i]
	}
	if err != nil || !slices.Equal(c.Warnings, want) {
		t.Errorf("got %v and\n%s\nwant\n%s", err, strings.Join(c.Warnings, "\n"), strings.Join(want, "\n"))
	}
}
