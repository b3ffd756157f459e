package config

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpmux/config/document"
)

var update = flag.Bool("update", false, "write the .want files")

// load parses a text of a test, which must be valid.
func load(t *testing.T, text string) Config {
	t.Helper()
	c, err := parse("t.toml", []byte(text), false)
	if err != nil {
		t.Fatalf("got %v, want no error for:\n%s", err, text)
	}
	return c
}

func TestEmptyFiles(t *testing.T) {
	for name, text := range map[string]string{
		"empty":    "",
		"comments": "# nothing\r\n\r\n# here",
		"tables":   "[record]\n[log]\n[limits]\n",
	} {
		want := Default()
		want.Path, want.Listeners[0].Source = "t.toml", "t.toml"
		if got := load(t, text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestLoadGood(t *testing.T) {
	got, err := Load("testdata/good.toml")
	if err != nil {
		t.Fatal(err)
	}
	got.Fingerprint = "" // the status of the daemon has the test
	main := Listener{
		Name: MainListener, Source: "testdata/good.toml", Address: []string{"0.0.0.0:12345", "[::]:12345", "127.0.0.1:7"}, Mode: 0o600, Group: "daemon", Backlog: 128,
		Banner: Text("hello {client}\r\n"), Model: "goroutine", ClientsPerProcess: 7, Framing: "length-prefixed", LengthSize: 2, LengthOrder: "little", LengthOffset: 4, LengthAdjust: -6, Silence: 50 * time.Millisecond,
		MaxMessage: 4 << 10, IdleTimeout: 90 * time.Minute, LostTimeout: 30 * time.Second, ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Ack: Text("{offset}\n"), AckTimeout: time.Minute, Service: ServiceRecord, Record: true,
		TLS: TLS{Certificate: "/etc/tcpmux/server.pem", Key: "credential:server.key", ClientCA: "plant-ca.pem", ClientAuth: "require", CRL: "/etc/tcpmux/revoked.crl", MinVersion: "1.2",
			HandshakeTimeout: 1500 * time.Millisecond, Survive: "off", AllowSubjects: []string{"CN=scanner-*,O=Plant α", "*,OU=a b"}, DenySubjects: []string{"CN=scanner-7,*"}},
	}
	limits := Limits{
		Clients: 5, Memory: 1 << 30, SourcePrefix: SourcePrefix{IPv4: 24, IPv6: 56}, PerSource: PerSource{3, Rate{Count: 100, Per: time.Minute}},
		Policy: Policy{
			Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128"), netip.MustParsePrefix("10.0.0.0/8")},
			Deny:  []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}, Refusal: Text("go away\r\n"),
			AccessTimes: []Window{{Days: [7]bool{true, true, true, true, true, true, true}, To: 1440}, {Days: [7]bool{true, true, true, true, true, false, true}, From: 1320, To: 390}},
			MaxSession:  90 * time.Minute, MaxSessionBytes: 1 << 30, MessageTimeout: 5 * time.Second,
		},
	}
	main.Limits.Policy = limits.Policy
	main.Proxy = Default().Listeners[0].Proxy
	telnet, scan, program := main, main, main
	telnet.ProxyProtocol = nil
	telnet.Limits = ListenerLimits{Clients: 2, PerSource: PerSource{1, Rate{Count: 2, Per: time.Hour}}, Policy: limits.Policy}
	telnet.Limits.Allow, telnet.Limits.Refusal, telnet.Limits.AccessTimes = nil, Bytes{}, nil
	telnet.Limits.MaxSession, telnet.Limits.MaxSessionBytes, telnet.Limits.MessageTimeout = 0, 0, time.Millisecond
	telnet.Name, telnet.Address = "telnet", []string{"127.0.0.1:12346", "unix:/run/tcpmux/telnet.sock"}
	telnet.Backlog, telnet.Banner, telnet.MaxMessage, telnet.IdleTimeout, telnet.LostTimeout = 1, Bytes{}, 1000, 0, 2*time.Hour
	telnet.Framing, telnet.LengthSize, telnet.LengthOrder, telnet.LengthOffset, telnet.LengthAdjust = "line", 4, "big", 0, 0
	scan.Name, scan.Address, scan.Model, scan.File = "scan-2.b_", []string{"[fe80::1%eth0]:0", "127.0.0.1:0"}, "process", "scan.log"
	program.Name, program.Address, program.Banner, program.IdleTimeout = "program", []string{"127.0.0.1:12347"}, Bytes{}, 0
	program.Exec, program.ExecUser = []string{"/bin/sh", "-c", "echo 'hello\t'"}, "nobody"
	program.Ack, program.ExecTimeout, program.ExecMemory, program.Record = Bytes{}, 90*time.Second, 64<<20, false
	program.Service, program.Limits.MaxSessionBytes, program.Limits.MessageTimeout = ServiceExec, 0, 0
	scanner := main
	scanner.LengthSize, scanner.LengthOrder, scanner.LengthOffset, scanner.LengthAdjust = 4, "big", 0, 0
	fixed, silence, echo := scanner, scanner, scanner
	echo.Name, echo.Address, echo.Framing, echo.Service = "echo", []string{"127.0.0.1:12351"}, "chunk", ServiceEcho
	echo.Banner, echo.Ack = Bytes{}, Bytes{}
	proxy := main
	proxy.Name, proxy.Address, proxy.Service, proxy.Record = "proxy", []string{"127.0.0.1:12352"}, ServiceProxy, false
	proxy.Banner, proxy.Ack, proxy.Limits.MessageTimeout = Bytes{}, Bytes{}, 0
	proxy.Proxy = Proxy{
		To:     []string{"db-1.example:5432", "[2001:db8::1]:5432", "unix:/run/postgresql/.s.PGSQL.5432"},
		Header: "v2", ConnectTimeout: 2500 * time.Millisecond, TLS: true, CA: "/etc/ssl/plant.pem", ServerName: "db.example",
		Certificate: "client.pem", Key: "credential:client.key",
	}
	front, inside := main, main
	front.Name, front.Address, front.Service, front.Record = "front", []string{"127.0.0.1:12353"}, ServiceMux, false
	front.Mux = []string{"inside", "telnet", "scan-2.b_"}
	inside.Name, inside.Address = "inside", nil
	inside.MuxedBy, telnet.MuxedBy, scan.MuxedBy = []string{"front"}, []string{"front"}, []string{"front"}
	scanner.Name, scanner.Address, scanner.Framing = "scanner", []string{"127.0.0.1:12350"}, "delimited"
	scanner.Delimiter, scanner.Start = []Bytes{Text("\r\n"), {Raw: "\x00\xff", Hex: true}}, Text("(")
	fixed.Name, fixed.Address, fixed.Framing, fixed.MessageSize = "fixed", []string{"127.0.0.1:12348"}, "fixed", 32
	silence.Name, silence.Address, silence.Framing, silence.Silence = "silence", []string{"127.0.0.1:12349"}, "silence", time.Second
	fixed.TLS = Default().Listeners[0].TLS
	silence.TLS.Certificate, silence.TLS.Key, silence.TLS.ClientAuth, silence.TLS.MinVersion, silence.TLS.HandshakeTimeout = "own.pem", "own.key", "none", "1.3", 10*time.Minute
	silence.TLS.AllowSubjects, silence.TLS.DenySubjects = nil, nil
	want := Config{
		Path:         "testdata/good.toml",
		Listeners:    []Listener{main, telnet, scan, program, echo, proxy, front, inside, scanner, fixed, silence},
		DrainTimeout: 1500 * time.Millisecond,
		Survive:      true,
		SurviveAfter: 250 * time.Millisecond,
		Control:      "/run/tcpmux/own",
		Record: Record{File: "/var/log/tcpmux/all.log", Format: "json", Mode: 0o600, MaxSize: 64 << 10, Rotate: "weekly", MaxBackups: 0,
			Sync: SyncAlways, MinFree: 16 << 20, MaxAge: 30 * 24 * time.Hour, Compress: false, Events: EventsOnData},
		Log:    Log{File: "tcpmux.log", Level: "debug"},
		Status: Status{Address: []string{"127.0.0.1:9464"}},
		Forward: Forward{
			Servers: []string{"tls://nats-1.example:4222", "tls://[2001:db8::1]:4222"}, Subject: "plant_7.{kind}.{host}", Host: "line 3/α",
			Stream: "PLANT-7", Create: true, MaxBytes: 1 << 40, MaxAge: 365 * 24 * time.Hour, Replicas: 3, Credentials: "credential:nats.creds",
			TLS: true, CA: "/etc/ssl/plant.pem", Certificate: "/etc/tcpmux-forward/client.pem", Key: "credential:client.key", Domain: "hub",
			MaxInFlight: 10000, Rate: 50000, Keep: 10 * time.Minute, State: "/srv/forward", Address: []string{"127.0.0.1:9465"},
		},
		Limits: limits,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestBadFiles holds the messages for invalid files. With -update it writes them: review the diff.
func TestBadFiles(t *testing.T) {
	t.Chdir("testdata/bad")
	files, _ := filepath.Glob("*.toml")
	if len(files) == 0 {
		t.Fatal("got no files, want some")
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			c, err := Load(file)
			if err == nil {
				t.Fatalf("got %+v, want an error", c)
			}
			if !errors.Is(err, ErrInvalid) || !reflect.DeepEqual(c, Config{Warnings: c.Warnings}) {
				t.Errorf("got %+v and an error that is ErrInvalid: %v, want warnings at most and true", c, errors.Is(err, ErrInvalid))
			}
			golden(t, strings.TrimSuffix(file, "toml")+"want", err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestInheritance(t *testing.T) {
	c := load(t, `
banner = "top"
max_message = "1KiB"
address = []
[[listener]]
name = "a"
address = ":1"
[[listener]]
name = "b"
address = ":2"
banner = "own"
[[listener]]
name = "c"
address = ":3"
`)
	for i, want := range []struct{ name, banner string }{{"a", "top"}, {"b", "own"}, {"c", "top"}} {
		l := c.Listeners[i]
		if l.Name != want.name || l.Banner.Raw != want.banner || l.MaxMessage != 1024 || l.Backlog != 4096 {
			t.Errorf("got %+v, want name and banner %+v, the top's max_message and the default backlog", l, want)
		}
	}
	if len(c.Listeners) != 3 {
		t.Errorf("got %d listeners, want 3", len(c.Listeners))
	}
}

// TestErrorsOfInheritedKeysNameBothPlaces: the line of the value, and that of the listener.
func TestErrorsOfInheritedKeysNameBothPlaces(t *testing.T) {
	const head = "\n[[listener]]\nname = \"a\"\naddress = \":1\"\n"
	for _, tc := range []struct{ name, text, want string }{
		{"the model", `model = "process"` + head + `exec = ["/bin/cat"]`,
			`t.toml:2: listener "a": model (inherited from line 1) is "process", and exec runs a program for each client: want "goroutine", or exec = []`},
		{"the program", `exec = ["/bin/cat"]` + head + `model = "thread"`,
			`t.toml:5: listener "a": model is "thread", and exec (inherited from line 1) runs a program for each client: want "goroutine", or exec = []`},
		{"both", "address = []\nmodel = \"thread\"\nexec = [\"/bin/cat\"]" + head,
			`t.toml:4: listener "a": model (inherited from line 2) is "thread", and exec (inherited from line 3) runs a program for each client: want "goroutine", or exec = []`},
		{"neither", "model = \"thread\"\nexec = [\"/bin/cat\"]", `t.toml:1: model is "thread", and exec runs a program for each client: want "goroutine", or exec = []`},
		{"the framing", `framing = "nul"` + head + `length_size = 2`,
			`t.toml:5: listener "a": length_size is 2, which has no effect with framing (inherited from line 1) = "nul": want framing = "length-prefixed", or no length_size`},
		{"who is denied", `limits.deny = ["10.0.0.0/8"]` + head + `limits.allow = ["10.0.0.0/8"]`,
			`t.toml:5: listener "a": limits.allow has "10.0.0.0/8", which is also in deny (inherited from line 1): want it in one of them`},
		{"the longest message", "address = []\nmax_message = \"16MiB\"\n" + head + "[record]\nmax_size = \"1MiB\"",
			`t.toml:8: record.max_size is "1MiB", and with max_message = "16MiB" of listener "a" (inherited from line 2) a record can be longer: ` +
				`want max_size "65537KiB" or more, or max_message "255KiB" or less`},
	} {
		_, err := parse("t.toml", []byte(tc.text), false)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: got\n%v\nwant\n%s", tc.name, err, tc.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, tc := range []struct{ name, toml, want string }{
		{"one", `"127.0.0.1:80"`, "127.0.0.1:80"},
		{"all", `":80"`, "0.0.0.0:80 [::]:80"},
		{"both wildcards", `["[::]:80", "0.0.0.0:80"]`, "[::]:80 0.0.0.0:80"},
		{"wildcard of the other family", `["0.0.0.0:80", "[::1]:80"]`, "0.0.0.0:80 [::1]:80"},
		{"localhost", `"localhost:80"`, "127.0.0.1:80"},
		{"long IPv6", `"[0:0:0::0:1]:0080"`, "[::1]:80"},
		{"IPv4 in IPv6", `"[::ffff:10.0.0.1]:80"`, "10.0.0.1:80"},
		{"zone", `["[fe80::1%eth0]:80", "[fe80::1%eth1]:80"]`, "[fe80::1%eth0]:80 [fe80::1%eth1]:80"},
		{"the kernel's choice, twice", `["127.0.0.1:0", "127.0.0.1:0", "0.0.0.0:0"]`, "127.0.0.1:0 127.0.0.1:0 0.0.0.0:0"},
		{"last port", `"10.0.0.1:65535"`, "10.0.0.1:65535"},
	} {
		if got := strings.Join(load(t, "address = "+tc.toml).Listeners[0].Address, " "); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

// TestFilesAreComparedWhereTheDaemonHasThem: a relative path is below $LOGS_DIRECTORY.
func TestFilesAreComparedWhereTheDaemonHasThem(t *testing.T) {
	t.Setenv("LOGS_DIRECTORY", "/var/log/tcpmux")
	_, err := parse("t.toml", []byte("[[listener]]\nname = 'a'\naddress = ':1'\nfile = '/var/log/tcpmux/records.log'"), false)
	const want = `t.toml:4: listener "a": file is "/var/log/tcpmux/records.log", want another file than that of record.file`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestInvalidTexts(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"long value", `model = "` + strings.Repeat("ä", 100) + `"`, `t.toml:1: model is "` + strings.Repeat("ä", 30) + `"…, want "goroutine", "thread" or "process"`},
		{"long path", "record.file = '" + strings.Repeat("/d", 2000) + "/f'", `t.toml:1: record.file is "` + strings.Repeat("/d", 30) + `"…, want a path of at most 4000 bytes, with a name of at most 200`},
		{"long name", "log.file = '" + strings.Repeat("f", 201) + "'", `t.toml:1: log.file is "` + strings.Repeat("f", 60) + `"…, want a path of at most 4000 bytes, with a name of at most 200`},
		{"negative days", "record.max_age = '-24h'", `t.toml:1: record.max_age is "-24h", want whole days from 1d to 3650d, or "0s" to keep all, as in "30d" or "720h"`},
		{"the file of [record] is a listener's", "[[listener]]\nname = 'a'\naddress = ':1'\nfile = './records.log'",
			`t.toml:4: listener "a": file is "./records.log", want another file than that of record.file`},
		{"the log is a listener's", "[[listener]]\nname = 'a'\naddress = ':1'\nfile = 'x.log'\n[log]\nfile = 'x.log'",
			`t.toml:4: listener "a": file is "x.log", want another file than that of log.file (line 6)`},
		{"the file of two listeners", "[[listener]]\nname = 'a'\naddress = ':1'\nfile = '/x.log'\n[[listener]]\nname = 'b'\naddress = ':2'\nfile = '//y/../x.log'",
			`t.toml:8: listener "b": file is "//y/../x.log", want another file than that of listener "a" (line 4)`},
		{"a listener's standard output", "[[listener]]\nname = 'a'\naddress = ':1'\nfile = '-'",
			`t.toml:4: listener "a": file is "-", want a file: standard output is for all records (file under [record])`},
		{"long key", strings.Repeat("k", 70) + "=1", `t.toml:1: "` + strings.Repeat("k", 60) + `"… is not a key here`},
		{"key that drives a terminal", `"\e[2J" = 1`, `t.toml:1: "\x1b[2J" is not a key here`},
	} {
		_, err := parse("t.toml", []byte(tc.text), false)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.want)
		}
	}
}

// TestManyErrorsAreCounted holds that a file of another kind does not bury its first error.
func TestManyErrorsAreCounted(t *testing.T) {
	const many = 60_000
	var text strings.Builder
	for i := range many {
		fmt.Fprintf(&text, "k%d = 1\n", i)
	}
	_, err := parse("t.toml", []byte(text.String()), false)
	lines := strings.Split(fmt.Sprint(err), "\n")
	if want := fmt.Sprintf("t.toml:101: and %d further errors", many-100); len(lines) != 101 || lines[100] != want || lines[99] != "t.toml:100: k99 is not a key here" {
		t.Errorf("got %d lines, the last %q, want 101 and %q", len(lines), lines[len(lines)-1], want)
	}
	if _, err = parse("t.toml", []byte(strings.Join(strings.SplitAfter(text.String(), "\n")[:101], "")), false); !strings.HasSuffix(fmt.Sprint(err), "t.toml:101: and 1 further error") {
		t.Errorf("got %v, want the last error counted", err)
	}
	c := load(t, "banner = '"+strings.Repeat("{x}", 1000)+"'\nack = '"+strings.Repeat("{y}", 333)+"'\n")
	if len(c.Warnings) > 101 {
		t.Errorf("got %d warnings, want 101 at most", len(c.Warnings))
	}
}

func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	fifo, big := filepath.Join(dir, "fifo"), filepath.Join(dir, "big")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(big, make([]byte, 10<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, path, want string
		is               error
	}{
		{"missing", filepath.Join(dir, "no"), "no such file or directory", fs.ErrNotExist},
		{"below a file", filepath.Join(big, "x"), "not a directory", syscall.ENOTDIR},
		{"directory", dir, "is a directory, want a regular file", ErrInvalid},
		{"fifo", fifo, "is a pipe, want a regular file", ErrInvalid},
		{"device", "/dev/null", "is a device or socket, want a regular file", ErrInvalid},
		{"10 MiB", big, "longer than 1MiB", ErrInvalid},
	} {
		_, err := Load(tc.path)
		want := `read configuration "` + tc.path + `": ` + tc.want
		if err == nil || err.Error() != want || !errors.Is(err, tc.is) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want %s", tc.name, err, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	c := load(t, `idle_timeout = "5ms"
banner = "{Client} {server} {clint} { x }"
`)
	want := []string{
		`t.toml:1: idle_timeout is "5ms": most clients are closed before they have sent anything`,
		`t.toml:2: banner has "{Client}", which is sent as written: the placeholders are {client}, {server}, {listener}, {session}, {time}, {hostname}`,
		`t.toml:2: banner has "{clint}", which is sent as written: the placeholders are {client}, {server}, {listener}, {session}, {time}, {hostname}`,
	}
	if !reflect.DeepEqual(c.Warnings, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(c.Warnings, "\n"), strings.Join(want, "\n"))
	}
}

func TestPlaceholders(t *testing.T) {
	const only = "which is sent as written: the placeholders are {client}, {server}, {listener}, {session}, {time}, {hostname}"
	for _, tc := range []struct{ name, banner, want string }{
		{"known", "{client}{time}", ""},
		{"misspelt", "{clent}", `has "{clent}", ` + only},
		{"never closed", "hello {client\r\n", `has "{client": did you mean {client}?`},
		{"never closed in a sentence", "hello {client you", `has "{client": did you mean {client}?`},
		{"blanks", "{ client }", `has "{ client }": did you mean {client}?`},
		{"two braces", "{{client}}", `has "{{client}}": did you mean {client}?`},
		{"a brace too many", "{client}}", `has "{client}}": did you mean {client}?`},
		{"another language", `{ "time": 5, {x } {{y}} }{`, ""},
		{"a longer word", "{clientele", ""},
		{"several words", "{client_ip} {remote.addr} {client-1}", `has "{client_ip}", ` + only + `has "{remote.addr}", ` + only + `has "{client-1}", ` + only},
	} {
		got := ""
		for _, w := range load(t, "banner = "+document.QuoteTOML(tc.banner)).Warnings {
			got += strings.TrimPrefix(w, "t.toml:1: banner ")
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestRefusalHasNoPlaceholders(t *testing.T) {
	got := load(t, "[[listener]]\nname = 'a'\naddress = ':1'\nlimits.refusal = 'not you, {client}'").Warnings
	want := []string{`t.toml:4: listener "a": limits.refusal has "{client}", which is sent as written: this key has no placeholders`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWarningsOfAnInvalidFile(t *testing.T) {
	c, err := parse("t.toml", []byte("banner = '{clent}'\nbacklog = -1\n"), false)
	if err == nil || len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], `t.toml:1: banner has "{clent}"`) {
		t.Errorf("got %v and warnings %q, want a fault and a warning", err, c.Warnings)
	}
}
