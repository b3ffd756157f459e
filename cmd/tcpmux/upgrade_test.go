package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// installed copies the program to a place of its own, where it can be replaced.
func installed(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tcpmux")
	replace(t, path, read(t, built))
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replace puts a program in place of another that may run, as a package manager does.
func replace(t *testing.T, path string, program []byte) {
	t.Helper()
	// Or a process that another test starts may hold it open to write, so that it is "text file
	// busy".
	syscall.ForkLock.RLock()
	err := os.WriteFile(path+".new", program, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// upgradesWell has the program that is installed show that it serves, and then take over.
func (d *dialogue) upgradesWell() {
	d.t.Helper()
	const begin, trial, place, ready = "msg=upgrading", "inherited=true", "inherited=false", "msg=ready "
	d.seen = ""
	if err := d.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		d.t.Fatal(err)
	}
	// What it has said before the signal may not have been read yet.
	d.hear(begin)
	_, d.seen, _ = strings.Cut(d.seen, begin)
	for _, text := range []string{trial, place, ready} {
		d.hear(text)
		before, after, _ := strings.Cut(d.seen, text)
		if strings.Contains(before, "not upgraded") {
			d.t.Errorf("got %q, want an upgrade", before)
		}
		if strings.Contains(before, "not served") || strings.Contains(before, "do not outlive the daemon") && !d.unstored {
			d.t.Errorf("got %q, want each socket where it belongs", before)
		}
		d.seen = after
	}
}

// TestAnUpgradeWithoutSystemdKeepsClients, in every model: connections, half a line, session and
// offsets, the port, and the file that each is recorded in.
func TestAnUpgradeWithoutSystemdKeepsClients(t *testing.T) {
	for _, model := range []string{"goroutine", "thread", "process"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			dir, path := t.TempDir(), installed(t)
			cmd := tcpmux(t, "run", "--config", settings(t, dir, "127.0.0.1:0", `model = "`+model+`"`, "format = \"json\"\n"+
				"[[listener]]\nname = \"own\"\naddress = \"127.0.0.1:0\"\nfile = \""+filepath.Join(dir, "own.log")+"\"\n"))
			cmd.Path = path
			d, address := started(t, cmd)
			conn := greeted(t, address)
			_, rest, _ := strings.Cut(d.seen, "listener=own")
			other := greeted(t, addressIn(rest))
			for _, round := range []struct{ say, recorded string }{
				{"one\nhalf", `"offset":0,"data":"one"`},
				{" a line\nhalf", `"offset":4,"data":"half a line"`},
				{" a line\nlast", `"offset":16,"data":"half a line"`},
			} {
				if _, err := io.WriteString(conn, round.say); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(other, round.say); err != nil {
					t.Fatal(err)
				}
				recorded(t, dir, round.recorded)
				recordedIn(t, filepath.Join(dir, "own.log"), round.recorded)
				replace(t, path, read(t, built))
				d.upgradesWell()
				late := greeted(t, address)
				_ = late.Close()
			}
			for _, c := range []struct {
				conn net.Conn
				file string
			}{{conn, "records.log"}, {other, "own.log"}} {
				if _, err := io.WriteString(c.conn, " words\n"); err != nil {
					t.Fatal(err)
				}
				_ = c.conn.(*net.TCPConn).CloseWrite()
				if rest, err := io.ReadAll(c.conn); err != nil || len(rest) > 0 {
					t.Errorf("heard %q, %v, want the end", rest, err)
				}
				recordedIn(t, filepath.Join(dir, c.file), `"offset":28,"data":"last words"`)
				recordedIn(t, filepath.Join(dir, c.file), `"reason":"eof","records":4,"bytes":39`)
			}
			d.stops(dir)
		})
	}
}

// TestWhoIsInTheBacklogWaitsForTheUpgrade, and is not turned away for want of a place.
func TestWhoIsInTheBacklogWaitsForTheUpgrade(t *testing.T) {
	dir, path := t.TempDir(), installed(t)
	cmd := tcpmux(t, "run", "--config", settings(t, dir, "127.0.0.1:0", "limits.clients = 1", ""))
	cmd.Path = path
	d, address := started(t, cmd)
	first := greeted(t, address)
	second := dial(t, address)
	d.hear("as many clients as limits.clients allows")
	d.seen = ""
	if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	d.hear("inherited=false") // the new one is in place
	if strings.Contains(d.seen, "turned away") {
		t.Errorf("log: got %s, want nobody turned away", d.seen)
	}
	_ = first.CloseWrite()
	hear(t, second, "Welcome connect!\r\n")
	_ = second.CloseWrite()
	d.stops(dir)
}

// TestAnUpgradeThatCannotBeChangesNothing: clients notice nothing, and the log says why.
func TestAnUpgradeThatCannotBeChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name, program string
		address       string // that the file has by then
		want          string
	}{
		{"no program", "nothing", "", "exec format error"},
		{"one that fails", "#!/bin/sh\necho no >&2\nexit 3\n", "", "exit status 3: no"},
		{"another address", "", "127.0.0.1:1", "other addresses"},
		{"a faulty file", "", "nowhere", "nowhere"},
		{"no survival", "", "127.0.0.1:0\"\nsurvive = false #", "survive = false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, path := t.TempDir(), installed(t)
			config := settings(t, dir, "127.0.0.1:0", "", "")
			cmd := tcpmux(t, "run", "--config", config)
			cmd.Path = path
			d, address := started(t, cmd)
			conn := greeted(t, address)
			if c.program != "" {
				replace(t, path, []byte(c.program))
			}
			if c.address != "" {
				text := strings.Replace(string(read(t, config)), "127.0.0.1:0", c.address, 1)
				if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
			d.hear("not upgraded")
			d.hear(c.want)
			if _, err := io.WriteString(conn, "on\n"); err != nil {
				t.Fatal(err)
			}
			recorded(t, dir, ": on\n")
		})
	}
}
