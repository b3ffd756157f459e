//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

const (
	peopleSocket = "/run/tcpmux/people.sock"
	singleSocket = "/run/tcpmux/single.sock"
	shownSocket  = "/run/tcpmux/shown.sock"
)

const unixListeners = `
[[listener]]
name = "people"
address = ["127.0.0.1:12346", "unix:` + peopleSocket + `"]
mode = "0660"
group = "people"
banner = "{listener}\n"

[[listener]]
name = "single"
address = "unix:` + singleSocket + `"
mode = "0666"
banner = "{listener}\n"
[listener.limits]
clients_per_source = 1
refusal = "one is enough\n"

[[listener]]
name = "shown"
address = "unix:` + shownSocket + `"
mode = "0666"
exec = ["/usr/bin/env"]
`

// withUnixSockets boots a machine that has users, of which eve is not in the group people, and
// whose daemon serves unix sockets.
func withUnixSockets(t *testing.T) *rig {
	t.Helper()
	r := installed(t)
	r.run("sh", "-ec", "groupadd people; useradd -G people ann; useradd -G people bob; useradd eve")
	r.asJSON()
	r.write(toml, r.read(toml)+unixListeners)
	r.resocket()
	return r
}

// credentials returns how the records name the clients of a user, up to the process.
func (r *rig) credentials(user string) string {
	r.t.Helper()
	return fmt.Sprintf("uid=%s,gid=%s,pid=", strings.TrimSpace(r.run("id", "-u", user)), strings.TrimSpace(r.run("id", "-g", user)))
}

// heardOf returns what the records have of a client of a unix socket.
func (r *rig) heardOf(k *localClient) *heard {
	r.t.Helper()
	var found *heard
	who := r.credentials(k.name) + k.pid + ",socket="
	for remote, h := range r.throng.read(records) {
		if strings.HasPrefix(remote, who) {
			if found != nil {
				r.t.Errorf("%s: got two sessions of %s, want one", records, who)
			}
			found = h
		}
	}
	if found == nil {
		r.t.Fatalf("%s: got no session of %s", records, who)
	}
	return found
}

// Clients of a unix socket are processes of users: the socket's mode and group decide who may
// connect, and the records have who did. They outlive restarts and kills of the daemon, and no byte
// is lost, duplicated or out of place.
func TestClientsOfAUnixSocket(t *testing.T) {
	r := withUnixSockets(t)
	r.explain(`Failed to start tcpmux`) // killed before it was ready
	r.isOfPeople()
	if out, err := r.try(as("eve", "nc", "-U", "-N", peopleSocket)...); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("eve, who is not in the group: got %q, %v, want that she may not connect", out, err)
	}
	clients := []*localClient{
		r.start("ann", "nc", "-U", "-N", peopleSocket),
		r.start("bob", "socat", "-t60", "-", "UNIX-CONNECT:"+peopleSocket),
		r.start("root", "tcpmux", "connect", "unix:"+peopleSocket),
	}
	for _, k := range clients {
		k.hear("people\n")
	}
	r.isOfPeople() // with the daemon too
	r.visitsPeople()

	stop := chat(clients...)
	for range 2 {
		r.run("systemctl", "restart", "tcpmux.service") // which keeps clients of any age
		was := r.mainPID()
		r.kill()
		r.awaitOther(was)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, k := range clients {
		if rest := k.bye(); rest != "" {
			t.Errorf("%s: got %q, want no more", k.name, rest)
		}
		h := r.heardOf(k)
		if got, want := h.stream.String(), k.said.String(); got != want {
			t.Errorf("%s: got %d bytes that differ from the %d said, at %d", k.name, len(got), len(want), differ(got, want))
		}
		if h.opens != 1 || h.closes != 1 || h.last.Reason != "eof" || h.last.Records != int64(h.messages) {
			t.Errorf("%s: got %d openings, %d ends, the last %+v, want one each, by eof, with %d records", k.name, h.opens, h.closes, h.last, h.messages)
		}
	}
	r.run("systemctl", "stop", "tcpmux.socket")
	if out, err := r.try("nc", "-U", "-N", peopleSocket); err == nil {
		t.Errorf("a client of the stopped socket: got %q, want that it cannot connect", out)
	}
	r.run("systemctl", "start", "tcpmux.socket")
	r.start("bob", "nc", "-U", "-N", peopleSocket).hear("people\n")
}

// isOfPeople fails unless the group people may connect, and nobody else but root.
func (r *rig) isOfPeople() {
	r.t.Helper()
	if got := strings.TrimSpace(r.run("stat", "-c", "%U:%G %a %F", peopleSocket)); got != "root:people 660 socket" {
		r.t.Errorf("%s: got %s, want root:people 660 socket", peopleSocket, got)
	}
}

// visitsPeople has a client come to the port that the listener has next to its socket.
func (r *rig) visitsPeople() {
	r.t.Helper()
	if got, err := r.piped("by TCP\n", "nc", "-N", "127.0.0.1", "12346"); err != nil || got != "people\n" {
		r.t.Errorf("the listener's port: got %q, %v, want the banner", got, err)
	}
}

// A user is what an address is elsewhere: he has as many clients as one may, also after a restart,
// and others are let in.
func TestUsersOfAUnixSocketAreToldApart(t *testing.T) {
	r := withUnixSockets(t)
	inside := r.start("ann", "nc", "-U", "-N", singleSocket)
	inside.hear("single\n")
	for range 2 {
		for user, want := range map[string]string{"ann": "one is enough\n", "bob": "single\n", "eve": "single\n", "root": "single\n"} {
			if got, err := r.piped("", as(user, "nc", "-U", "-N", singleSocket)...); err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", user, got, err, want)
			}
		}
		r.run("systemctl", "restart", "tcpmux.service")
	}
	if rest := inside.bye(); rest != "" {
		t.Errorf("ann: got %q, want no more", rest)
	}
}

// A program gets the variables that it gets from ucspi-unix. The sockets are there after a boot, as
// before it.
func TestAProgramAtAUnixSocketKnowsItsClient(t *testing.T) {
	r := withUnixSockets(t)
	r.reboot()
	r.start("ann", "nc", "-U", "-N", peopleSocket).hear("people\n")
	r.awaitStarted()
	r.isOfPeople()
	k := r.start("bob", "nc", "-U", "-N", shownSocket)
	env := k.bye()
	uid := strings.TrimSpace(r.run("id", "-u", "bob"))
	gid := strings.TrimSpace(r.run("id", "-g", "bob"))
	for _, want := range []string{"PROTO=UNIX", "UNIXLOCALPATH=" + shownSocket, "UNIXREMOTEEUID=" + uid, "UNIXREMOTEEGID=" + gid, "UNIXREMOTEPID=" + k.pid} {
		if !strings.Contains("\n"+env, "\n"+want+"\n") {
			t.Errorf("got the environment %q, want %s in it", env, want)
		}
	}
}
