//go:build e2e

package e2e

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// behind is a listener that expects the header of a proxy.
const behind = "127.0.0.1:12346"

// backends are ways in which haproxy checks a server's health and forwards clients to it.
var backends = []struct {
	name    string
	proxied bool // clients are forwarded with a PROXY header
	options string
	server  string // address and options
	healthy string // the result of a check
}{
	{"connect", false, "", port + " check", "L4OK"},
	{"tcp-check", false, "option tcp-check", port + " check", "L4OK"},
	{"banner", false, "option tcp-check\n tcp-check expect string Welcome", port + " check", "L7OK"},
	{"v1", true, "", behind + " send-proxy check check-send-proxy", "L4OK"},
	{"v2", true, "option tcp-check", behind + " send-proxy-v2 check check-send-proxy", "L4OK"},
	{"banner-v2", true, "option tcp-check\n tcp-check expect string Welcome", behind + " send-proxy-v2 check", "L7OK"},
	{"no-header", true, "", behind + " send-proxy check port 12346", "L4OK"}, // the check alone has none
}

// haproxySocket is where haproxy is asked for its statistics.
const haproxySocket = "/run/haproxy-stats.sock"

// frontend returns where haproxy listens for clients of a backend.
func frontend(i int) string { return fmt.Sprintf("127.0.0.1:%d", 20000+i) }

// balanced boots a machine that records visits with data, and configures its haproxy, which is not
// started.
func balanced(t *testing.T) *rig {
	t.Helper()
	r := installed(t)
	r.edit(toml, "events = true", `events = "on-data"`)
	r.write(toml, r.read(toml)+"\n[[listener]]\nname = \"behind\"\naddress = \""+behind+"\"\nproxy_protocol = [\"127.0.0.0/8\"]\n")
	var conf strings.Builder
	conf.WriteString("global\n stats socket " + haproxySocket + "\n" +
		"defaults\n mode tcp\n timeout connect 60s\n timeout client 60s\n timeout server 60s\n timeout check 60s\n")
	for i, b := range backends {
		fmt.Fprintf(&conf, "listen %s\n bind %s\n %s\n server tcpmux %s inter 5ms\n", b.name, frontend(i), b.options, b.server)
	}
	r.write("/etc/haproxy/haproxy.cfg", conf.String())
	r.run("systemctl", "daemon-reload")
	r.run("systemctl", "start", "tcpmux.socket")
	return r
}

// awaitHealthy waits until haproxy has the result of a check of each backend.
func (r *rig) awaitHealthy() {
	r.t.Helper()
	r.await("healthy backends", func() bool {
		results := r.checkResults()
		for _, b := range backends {
			if results[b.name] != "UP "+b.healthy {
				return false
			}
		}
		return true
	})
}

// checkResults returns the state of each backend's server and the result of its last check.
func (r *rig) checkResults() map[string]string {
	r.t.Helper()
	conn, err := net.Dial("unix", r.path(haproxySocket))
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		r.t.Fatal(err)
	}
	rows, err := csv.NewReader(conn).ReadAll()
	if err != nil {
		r.t.Fatal(err)
	}
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	results := make(map[string]string)
	for _, row := range rows[1:] {
		if row[column["svname"]] == "tcpmux" {
			check := strings.TrimPrefix(row[column["check_status"]], "* ") // a star: the next check is under way
			results[row[0]] = row[column["status"]] + " " + check
		}
	}
	return results
}

var withoutData = regexp.MustCompile(`(\d+) visits? without data`)

// silentVisits returns how many visits without data the status line counts.
func (r *rig) silentVisits() int {
	r.t.Helper()
	return figure(withoutData, r.show("tcpmux.service", "StatusText"))
}

// connections returns how many connections the machine has accepted, from Tcp: PassiveOpens in
// proc_net_snmp(5).
func (r *rig) connections() int {
	r.t.Helper()
	var rows [][]string
	for line := range strings.Lines(r.run("cat", "/proc/net/snmp")) {
		if strings.HasPrefix(line, "Tcp:") {
			rows = append(rows, strings.Fields(line))
		}
	}
	for i, name := range rows[0] {
		if name == "PassiveOpens" {
			n, err := strconv.Atoi(rows[1][i])
			if err != nil {
				r.t.Fatal(err)
			}
			return n
		}
	}
	r.t.Fatalf("got %q, want PassiveOpens", rows)
	return 0
}

// logged returns how many lines the daemon has logged: those that sum up visits, and all others.
func (r *rig) logged() (sums, others int) {
	r.t.Helper()
	for line := range strings.Lines(r.run("journalctl", "-q", "-t", "tcpmux", "-o", "cat")) {
		if strings.Contains(line, "visits without data") {
			sums++
		} else {
			others++
		}
	}
	return sums, others
}

// Thousands of health checks by haproxy, whatever they send, are counted, and leave no record, no
// line of the log and nothing in the daemon. Clients that come through haproxy are recorded.
func TestHealthChecksLeaveNothing(t *testing.T) {
	r := balanced(t)
	stays := r.mustCall()
	d := &daemon{r: r, pid: r.mainPID()}
	idle, accepted := d.burden(), r.connections()
	_, lines := r.logged()
	start := time.Now()
	r.run("systemctl", "start", "haproxy")
	r.awaitHealthy()
	var most burden
	for n := 1000; n <= 5000; n += 1000 {
		r.await(fmt.Sprintf("%d checks", n), func() bool {
			b := d.burden()
			most.descriptors, most.memory = max(most.descriptors, b.descriptors), max(most.memory, b.memory)
			return r.silentVisits() >= n
		})
	}
	if got := r.entries(); len(got) > 0 {
		t.Errorf("%s: got %v, want no record", records, got)
	}
	clients := r.visitThrough()
	r.awaitHealthy()
	r.run("systemctl", "stop", "haproxy")
	checks := r.connections() - accepted - 2*clients // a client's connection to haproxy, and haproxy's
	r.await("the count of all checks", func() bool { return r.silentVisits() == checks })
	few := idle.descriptors + 20*len(backends) // each backend is checked by one connection after another
	r.await("no descriptors of checks", func() bool { return d.burden().descriptors <= few })
	t.Logf("%d checks in %v; %d descriptors before, and %d at most; %d KiB at most",
		checks, time.Since(start), idle.descriptors, most.descriptors, most.memory)
	if got, want := most.descriptors, few; got > want {
		t.Errorf("descriptors: got %d, want %d at the most", got, want)
	}
	// More than half of it is what the runtime uses before it collects garbage. If each check left
	// 2 KiB, it would be more.
	if got, want := most.memory, 10<<10+256*runtime.NumCPU(); got > want {
		t.Errorf("KiB of memory: got %d, want %d at the most", got, want)
	}
	sums, others := r.logged()
	if want := 1 + int(time.Since(start)/time.Minute); sums > want || others != lines {
		t.Errorf("log: got %d lines that sum up checks, and %d others, want at most %d, and %d", sums, others, want, lines)
	}
	if err := errors.Join(stays.say(3), stays.bye()); err != nil {
		t.Errorf("the client that stayed: %v", err)
	}
}

// visitThrough has a client come through each backend, which must be recorded with its address, and
// with haproxy's if that sends a header. It returns how many clients there were.
func (r *rig) visitThrough() int {
	r.t.Helper()
	for i, b := range backends {
		k, err := r.call(frontend(i), banner)
		if err != nil {
			r.t.Fatalf("%s: %v", b.name, err)
		}
		address := k.conn.LocalAddr().String()
		if err := errors.Join(k.say(3), k.bye()); err != nil {
			r.t.Errorf("%s: %v", b.name, err)
		}
		var opened entry
		r.await(b.name+": the record of its client", func() bool {
			all := r.entries()
			for j, e := range all[:max(0, len(all)-1)] {
				if e.kind == "open" && strings.HasPrefix(all[j+1].data, k.name+" ") {
					opened = e
				}
			}
			return opened.kind != ""
		})
		if b.proxied && (opened.addr != address || !strings.HasPrefix(opened.via, "127.0.0.1:")) {
			r.t.Errorf("%s: got a client from %s via %q, want %s via haproxy's address", b.name, opened.addr, opened.via, address)
		}
		if !b.proxied && (opened.via != "" || !strings.HasPrefix(opened.addr, "127.0.0.1:")) {
			r.t.Errorf("%s: got a client from %s via %q, want haproxy's address", b.name, opened.addr, opened.via)
		}
	}
	return len(backends)
}
