package view

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/internal/text"
	"tcpmux/daemon/control/api"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// hostile is what must not reach a terminal: an escape sequence, a line end, C1, a bidirectional
// control, a line separator, and what is not UTF-8.
const hostile = "a\x1b[2J\r\nb\u009b31m\u202e\u2028\x00\x7f\xff\U000e0041"

// busy returns a status with something of everything.
func busy() api.Status {
	return api.Status{
		Version: "0.3.0", PID: 1234, Started: noon.Add(-76 * time.Hour), Now: noon, Phase: "serving",
		Config:  api.Config{File: "/etc/tcpmux.toml", Loaded: noon.Add(-time.Hour), Reloads: 2},
		Survive: api.Survive{On: true, Clients: 11}, Clients: 12, Limit: 10000,
		Listeners: []api.Listener{
			{
				Name: "tcpmux", Addresses: []string{"127.0.0.1:12345", "[::1]:12345"}, Model: "goroutine", Framing: "line", Service: "record", Clients: 10, Limit: 100,
				Counts: api.Counts{Visits: 345, Records: 1234567, Bytes: 98765432, Refused: map[string]int64{"clients": 3, "rate": 20, "networks": 0}},
				Rates:  api.Rates{Records: 12.04, Bytes: 1234},
			},
			{Name: "clock", Addresses: []string{":7"}, Service: "exec", Clients: 2, Draining: true},
			{Name: "far", Addresses: []string{"192.0.2.1:7"}, Fault: `bind "192.0.2.1:7": address in use`},
		},
		Files: []api.File{{
			Path: "/var/log/tcpmux/records.log", Size: 12 << 20, Free: 3 << 30, Written: noon.Add(-time.Second), Synced: noon.Add(-1500 * time.Millisecond), Waiting: 512,
		}},
	}
}

func TestStatus(t *testing.T) {
	wrong := busy()
	wrong.Listeners = nil
	wrong.Problems, wrong.Unready = []string{"records cannot be written"}, []string{"records cannot be written", "far is not served"}
	wrong.Survive.On = false
	wrong.Config = api.Config{Differs: true, Faults: []string{"/etc/tcpmux.toml:1: backlog is -1"}}
	wrong.Files[0].Failing, wrong.Files[0].Error, wrong.Files[0].Since = true, "no space left on device", noon.Add(-time.Minute)
	wrong.Files = append(wrong.Files, api.File{Path: "-", Listener: "clock", Free: -1, Troubles: []string{"backups are not compressed"}})
	edited := api.Status{Version: "0.3.0", Now: noon, Started: noon, Phase: "leaving", Config: api.Config{File: "/x", Differs: true}}
	for _, c := range []struct {
		name   string
		status api.Status
		want   string
	}{
		{"well", busy(), `tcpmux 0.3.0, serving for 3d04h, pid 1234
All is well.

Clients        12/10000; 11 would outlive a crash
Configuration  /etc/tcpmux.toml, in force since 11:00:00, 2 reloads

LISTENER  CLIENTS  VISITS  RECORDS   BYTES  RECORDS/S  BYTES/S  STATE
tcpmux     10/100     345     1.2M  94 MiB         12  1.2 KiB  serving
  127.0.0.1:12345 [::1]:12345, line, model goroutine
  refused 23: rate 20, clients 3
clock           2       0        0     0 B          0      0 B  draining
  :7, exec
far             0       0        0     0 B          0      0 B  FAULT
  192.0.2.1:7
  not served: bind "192.0.2.1:7": address in use

  SIZE  WRITTEN  SYNCED   FREE  WAITING  STATE  FILE
12 MiB   1s ago  1s ago  3 GiB    512 B  ok     /var/log/tcpmux/records.log`},
		{"wrong", wrong, `tcpmux 0.3.0, serving for 3d04h, pid 1234
PROBLEM: records cannot be written
NOT READY: far is not served

Clients        12/10000; none outlives this process
Configuration  the built-in defaults
               the file was not loaded, as it has errors:
               /etc/tcpmux.toml:1: backlog is -1

  SIZE  WRITTEN  SYNCED   FREE  WAITING  STATE    FILE
12 MiB   1s ago  1s ago  3 GiB    512 B  FAILING  /var/log/tcpmux/records.log
  cannot be written since 11:59:00: no space left on device
   0 B        -       -      -      0 B  trouble  standard output (of clock)
  backups are not compressed`},
		{"edited", edited, `tcpmux 0.3.0, leaving for 0s, pid 0
All is well.

Clients        0; none outlives this process
Configuration  /x
               the file differs from it: systemctl reload tcpmux`},
	} {
		t.Run(c.name, func(t *testing.T) { compare(t, Status(&c.status, false), c.want) })
	}
}

func TestStatusListsFewFaults(t *testing.T) {
	s := busy()
	s.Config.Faults = strings.Split(strings.Repeat("x ", 99)+"x", " ")
	got := strings.Join(Status(&s, false), "\n")
	if n := strings.Count(got, "\n               x"); n != mostFaults || !strings.Contains(got, "\n               and 90 more\n") {
		t.Errorf("got %d faults in\n%s\nwant %d and how many more", n, got, mostFaults)
	}
}

func TestStatusFitsATerminal(t *testing.T) {
	s := busy()
	for _, line := range Status(&s, false) {
		if len(line) > 80 {
			t.Errorf("got %d columns, want at most 80: %s", len(line), line)
		}
	}
}

// someone returns a session.
func someone() api.Session {
	return api.Session{
		ID: "8f3a-2c", Listener: "tcpmux", Remote: "192.0.2.7:40312", Proxy: "198.51.100.1:443", Model: "goroutine", Phase: "serving", State: "client",
		Opened: noon.Add(-time.Hour), Heard: noon.Add(-5 * time.Second), Records: 12, Bytes: 3456, Unread: 7, Survives: true,
	}
}

func TestSessions(t *testing.T) {
	ending := api.Session{ID: "8f3a-2d", Listener: "clock", Remote: "[2001:db8::7]:1", Phase: "draining", State: "client", Opened: noon.Add(-25 * time.Hour)}
	got := Sessions(&api.Sessions{Sessions: []api.Session{someone(), ending}, Total: 5}, noon, false)
	compare(t, got, `ID       LISTENER  REMOTE                                       SINCE   IDLE  RECORDS    BYTES  STATE
8f3a-2c  tcpmux    192.0.2.7:40312 via 198.51.100.1:443      11:00:00     5s       12  3.4 KiB  client
8f3a-2d  clock     [2001:db8::7]:1                       Nov 27 11:00  1d01h        0      0 B  draining
2 of 5 sessions`)
	compare(t, Sessions(&api.Sessions{}, noon, false), "no session")

	secured := func(subject string, kernel bool) api.Session {
		return api.Session{ID: "1", TLS: &api.SessionTLS{TLS: api.TLS{Version: "1.3", Subject: subject}, Kernel: kernel}, Opened: noon}
	}
	got = Sessions(&api.Sessions{Sessions: []api.Session{
		secured("CN=one", true), secured("", false), secured("CN="+strings.Repeat("x", 100), true), {ID: "2", Opened: noon},
	}, Total: 4}, noon, false)
	for i, want := range []string{"  STATE  TLS", " 1.3 kernel CN=one", " 1.3 user space", " 1.3 kernel CN=" + strings.Repeat("x", 54) + "...", "  -"} {
		if !strings.HasSuffix(got[i], want) {
			t.Errorf("got %q, want it to end with %q", got[i], want)
		}
	}
}

func TestStatusAndDetailTellTLS(t *testing.T) {
	s, d := busy(), api.Detail{Session: someone()}
	s.TLS = api.TLSClients{Clients: 7, Kernel: 5, Survive: 4}
	d.TLS = &api.SessionTLS{TLS: api.TLS{Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", SNI: "a.example", Subject: "CN=\"one\""}, Kernel: true}
	user := api.Detail{Session: api.Session{TLS: &api.SessionTLS{TLS: api.TLS{Version: "1.2", Cipher: "X"}, Reason: "TLS 1.2"}}}
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"status", Status(&s, false), "11 would outlive a crash\nTLS            7 clients, 5 by the kernel; 4 would outlive a crash\nConf"},
		{"detail", Detail(&d, noon, false), "\n  TLS         1.3, TLS_AES_128_GCM_SHA256, by the kernel\n  server      a.example\n  subject     CN=\"one\"\n  opened "},
		{"in user space", Detail(&user, noon, false), "\n  TLS         1.2, X, in user space: TLS 1.2\n  opened "},
	} {
		if got := strings.Join(c.lines, "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: got\n%s\nwant it to have %q", c.name, got, c.want)
		}
	}
}

func TestDetail(t *testing.T) {
	d := api.Detail{Session: someone(), Local: "10.0.0.9:12345", Framing: "line", Partial: 7, TCP: &api.TCP{
		State: "ESTABLISHED", RTT: 0.0123, RTTVariance: 0.004, Retransmits: 1, SendWindow: 64 << 10, ReceiveWindow: 32 << 10, Received: 3463, Sent: 18,
	}}
	compare(t, Detail(&d, noon, false), `Session 8f3a-2c
  client      192.0.2.7:40312 via 198.51.100.1:443
  listener    tcpmux (framing line, model goroutine)
  local       10.0.0.9:12345
  opened      2026-11-28 11:00:00.000 UTC, 1h00m ago
  heard       2026-11-28 11:59:55.000 UTC, 5s ago
  recorded    12 records, 3456 bytes (3.4 KiB)
  unread      7 bytes in the kernel
  partial     7 bytes of a message that has not ended
  state       serving, waits for client
  crash       the connection would outlive one of the daemon
  TCP         ESTABLISHED, 1 retransmission
              round trip 12.300 ms, variance 4.000 ms
              send window 64 KiB, receive window 32 KiB, 0 segments unacknowledged
              received 3463 bytes (3.4 KiB), sent 18 bytes`)
	d = api.Detail{Session: api.Session{ID: "1", Phase: "over"}}
	if got := strings.Join(Detail(&d, noon, false), "\n"); !strings.Contains(got, "\n  heard       never\n") || !strings.HasSuffix(got, "\n  TCP         unknown") {
		t.Errorf("got\n%s\nwant what is unknown to be said", got)
	}
	d.Local = "unix:/run/app.sock"
	if got := strings.Join(Detail(&d, noon, false), "\n"); strings.Contains(got, "TCP") {
		t.Errorf("got\n%s\nwant nothing about TCP of a client of a unix socket", got)
	}
}

// TestStatusTellsWhereClientsGo checks what is told of a listener: how clients come to it and what
// serves them, and the framing of those alone whose messages are recorded.
func TestStatusTellsWhereClientsGo(t *testing.T) {
	for _, c := range []struct {
		name     string
		listener api.Listener
		want     string
	}{
		{"records", api.Listener{Addresses: []string{":7"}, Service: "record", Framing: "nul", File: "r.log", Model: "thread"}, ":7, nul, model thread"},
		{"mux", api.Listener{Addresses: []string{":1"}, Service: "mux", Mux: []string{"a", "b"}, Framing: "line", File: "r.log"}, ":1, mux of a b"},
		{"behind muxes", api.Listener{Service: "record", MuxedBy: []string{"x", "y"}, Framing: "line"}, "via mux x y, line"},
		{"proxy", api.Listener{Addresses: []string{":7"}, Service: "proxy", Upstreams: []string{"a:1", "unix:/b"}, Framing: "line"}, ":7, proxy to a:1 unix:/b"},
		{"recorded proxy", api.Listener{Addresses: []string{":7"}, Service: "proxy", Upstreams: []string{"a:1"}, Framing: "line", File: "r.log"}, ":7, proxy to a:1, line"},
		{"program", api.Listener{Addresses: []string{":7"}, Service: "exec", Framing: "line"}, ":7, exec"},
	} {
		if got := what(&c.listener); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func compare(t *testing.T, lines []string, want string) {
	t.Helper()
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestNothingHostileComesThrough fills every string of each view with what must not reach a
// terminal.
func TestNothingHostileComesThrough(t *testing.T) {
	var s api.Status
	var list api.Sessions
	var d api.Detail
	poison(reflect.ValueOf(&s).Elem())
	poison(reflect.ValueOf(&list).Elem())
	poison(reflect.ValueOf(&d).Elem())
	for name, lines := range map[string][]string{
		"status": Status(&s, false), "sessions": Sessions(&list, noon, false), "detail": Detail(&d, noon, false),
	} {
		if all := strings.Join(lines, ""); strings.Count(all, `\x1b[2J`) < 3 {
			t.Errorf("%s: got %q, want what is hostile to be shown", name, all)
		}
		for _, line := range lines {
			for _, r := range line {
				if r < 0x20 || r >= 0x7f {
					t.Errorf("%s: got %q in %q, want printable ASCII", name, r, line)
				}
			}
		}
	}
}

// poison sets every string below v to hostile, and gives slices and maps an element.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		poison(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		poison(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(hostile), reflect.ValueOf(int64(1)))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				poison(v.Field(i))
			}
		}
	}
}

// TestColoursSayNothing: without them, the text is the same.
func TestColoursSayNothing(t *testing.T) {
	s := busy()
	s.Problems = []string{"x"}
	coloured, plain := strings.Join(Status(&s, true), "\n"), strings.Join(Status(&s, false), "\n")
	if coloured == plain {
		t.Error("got no colour, want some")
	}
	for _, c := range []text.Colour{text.Bold, text.Faint, text.Reverse, text.Red, text.Green, text.Yellow} {
		coloured = strings.ReplaceAll(coloured, "\x1b["+string(c)+"m", "")
	}
	if coloured = strings.ReplaceAll(coloured, "\x1b[0m", ""); coloured != plain {
		t.Errorf("got\n%s\nwant\n%s", coloured, plain)
	}
}

// TestStatusTellsCertificates, and which clients outlive the daemon.
func TestStatusTellsCertificates(t *testing.T) {
	s := busy()
	s.Listeners[0].TLS = &api.ListenerTLS{Expires: noon}
	s.Listeners[1].TLS = &api.ListenerTLS{Ends: "programs serve them\x1b"}
	got := strings.Join(Status(&s, false), "\n")
	for _, want := range []string{
		"\n  TLS, certificate until " + noon.UTC().Format("2006-01-02 15:04 UTC") + ", clients of TLS 1.3 outlive the daemon\n",
		"\n  TLS, clients end with the daemon: programs serve them",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q", got, want)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Errorf("got %q, want no control character", got)
	}
}
