package program

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/sockaddr"
)

func TestSpecStartsProgramDirectlyUnlessLimited(t *testing.T) {
	cat := []string{"/bin/cat", "-u"}
	byUs := []string{ExecName, "1024", "/bin/cat", "-u"}
	for _, c := range []struct {
		name   string
		memory int64
		path   string
		argv   []string
	}{
		{"no limit", 0, "/bin/cat", cat},
		{"a memory limit", 1024, selfExe, byUs},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSpec(config.Listener{Exec: cat, ExecMemory: c.memory})
			if hasAmbientCapabilities() && c.memory == 0 {
				t.Skip("with ambient capabilities every program has a starter")
			}
			if s.path != c.path || !slices.Equal(s.argv, c.argv) {
				t.Errorf("got %q %q, want %q %q", s.path, s.argv, c.path, c.argv)
			}
		})
	}
	if s := NewSpec(config.Listener{}); s != nil {
		t.Errorf("without exec: got %v, want nil", s)
	}
}

func TestSpecOfOwnUserChangesNothing(t *testing.T) {
	u, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	s := NewSpec(config.Listener{Exec: []string{"/bin/cat"}, ExecUser: u.Username})
	if s.err != nil || s.credential != nil {
		t.Errorf("got %v and %v, want no credential and no error", s.credential, s.err)
	}
	if want := "USER=" + u.Username; !slices.Contains(s.env, want) {
		t.Errorf("got %q, want %q in it", s.env, want)
	}
}

// TestSpecKeepsTheErrorOfItsUser for every start.
func TestSpecKeepsTheErrorOfItsUser(t *testing.T) {
	s := NewSpec(config.Listener{Exec: []string{"/bin/cat"}, ExecUser: "no-such"})
	_, err := startProcess(s, nil, []uintptr{0, 1, 2}, nil, 0)
	if want := `exec_user "no-such": `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestEnvironOfOneSessionIsNotAnothers: sessions share a Spec and not what they add to it.
func TestEnvironOfOneSessionIsNotAnothers(t *testing.T) {
	s := NewSpec(config.Listener{Exec: []string{"/bin/cat"}})
	local := sockaddr.ParseLocal("[2001:db8::1]:23")
	first := s.environ(local, &record.Source{Listener: "ln", Session: "1", Remote: "192.0.2.1:5"})
	second := s.environ(local, &record.Source{Listener: "ln", Session: "2", Remote: "[2001:db8::2]:6"})
	want := []string{pathVariable, "PROTO=TCP", "TCPREMOTEIP=192.0.2.1", "TCPREMOTEPORT=5",
		"TCPLOCALIP=2001:db8::1", "TCPLOCALPORT=23", "TCPMUX_LISTENER=ln", "TCPMUX_SESSION=1"}
	if !slices.Equal(first, want) {
		t.Errorf("got %q, want %q", first, want)
	}
	if !slices.Contains(second, "TCPMUX_SESSION=2") || !slices.Contains(second, "TCPREMOTEIP=2001:db8::2") {
		t.Errorf("got %q, want the second session's", second)
	}
}

// TestEnvironOfUnixSockets, of a process and of a proxy's client.
func TestEnvironOfUnixSockets(t *testing.T) {
	s := NewSpec(config.Listener{Exec: []string{"/bin/cat"}})
	local := sockaddr.ParseLocal("unix:/run/x.sock")
	got := s.environ(local, &record.Source{Listener: "ln", Session: "1", Remote: "uid=1000,gid=100,pid=4711,socket=5"})
	want := []string{pathVariable, "PROTO=UNIX", "UNIXLOCALPATH=/run/x.sock",
		fmt.Sprint("UNIXLOCALUID=", os.Geteuid()), fmt.Sprint("UNIXLOCALGID=", os.Getegid()),
		"UNIXREMOTEEUID=1000", "UNIXREMOTEEGID=100", "UNIXREMOTEPID=4711", "TCPMUX_LISTENER=ln", "TCPMUX_SESSION=1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got = s.environ(local, &record.Source{Listener: "ln", Session: "1", Remote: "192.0.2.1:5"})
	want = []string{pathVariable, "PROTO=TCP", "TCPREMOTEIP=192.0.2.1", "TCPREMOTEPORT=5", "TCPMUX_LISTENER=ln", "TCPMUX_SESSION=1"}
	if !slices.Equal(got, want) {
		t.Errorf("proxied: got %q, want %q", got, want)
	}
}

func TestExecRefusesBadArguments(t *testing.T) {
	stderr := os.Stderr
	defer func() { os.Stderr = stderr }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	os.Stderr = w
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"no program", []string{ExecName, "0"}, 64},
		{"no such program", []string{ExecName, "0", "/no/such"}, 127},
		{"no limit", []string{ExecName, "much", "/bin/true"}, 126},
		{"a directory", []string{ExecName, "0", "/"}, 126},
	} {
		if got := Exec(c.args); got != c.want {
			t.Errorf("%s: got status %d, want %d", c.name, got, c.want)
		}
	}
}
