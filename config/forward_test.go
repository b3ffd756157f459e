package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"tcpmux/config/document"
	"testing"
)

// delivers is a configuration with nothing to warn of, which ends in [forward].
const delivers = "record.format = \"json\"\nrecord.min_free = \"1GiB\"\n[forward]\n"

// onStdout is a configuration with servers and no record file.
const onStdout = "record = { file = \"-\", format = \"json\", min_free = \"1GiB\" }\nforward.servers = \"nats://a:1\"\n"

func TestServers(t *testing.T) {
	for _, tc := range []struct{ name, toml, want string }{
		{"none", `[]`, ""},
		{"one", `"nats://192.0.2.1:4222"`, "nats://192.0.2.1:4222"},
		{"several", `["nats://a:1", "tls://b-c.example:65535", "nats://[2001:db8::1]:4222"]`, "nats://a:1 tls://b-c.example:65535 nats://[2001:db8::1]:4222"},
		{"of a local network", `["tls://nats_1:4222", "nats://[fe80::1%eth0]:4222"]`, "tls://nats_1:4222 nats://[fe80::1%eth0]:4222"},
		{"over WebSocket", `["ws://a:80", "wss://a:443"]`, "ws://a:80 wss://a:443"},
	} {
		c := load(t, delivers+"servers = "+tc.toml)
		if got := strings.Join(c.Forward.Servers, " "); got != tc.want || len(c.Warnings) > 0 {
			t.Errorf("%s: got %q and warnings %q, want %q and none", tc.name, got, c.Warnings, tc.want)
		}
		if got, want := c.Forward.On(), tc.want != ""; got != want {
			t.Errorf("%s: got on %v, want %v", tc.name, got, want)
		}
	}
}

func TestSubjects(t *testing.T) {
	for _, tc := range []struct{ subject, want string }{
		{"tcpmux.{host}.{listener}.{kind}", ""},
		{"a.{host}", ""},
		{"9-_.x.{kind}.{host}.{listener}.z", ""},
		{"", "words of letters"},
		{"a", "{host} in it"},
		{"a.b.{listener}", "{host} in it"},
		{"a.host.kind", "{host} in it"},
		{"a.host.{host}", ""},
		{"{host}.a", "a word in front of the first placeholder"},
		{"_INBOX.{host}", "a first word that does not begin with an underscore"},
		{"$JS.{host}", "words of letters"},
		{"a.{host}.*", "words of letters"},
		{"a.{host}.>", "words of letters"},
		{"a..{host}", "words of letters"},
		{".a.{host}", "words of letters"},
		{"a.{host}.", "words of letters"},
		{"a b.{host}", "words of letters"},
		{"ä.{host}", "words of letters"},
		{"a.{host}\n", "a dot in front of each placeholder"},
		{"a.b{host}", "a dot in front of each placeholder"},
		{"a.{host}{kind}", "a dot in front of each placeholder"},
		{"a.{{host}}", "a dot in front of each placeholder"},
		{"a.{host}.{session}", `no "{session}": the placeholders are {host}, {listener}, {kind}`},
		{"a.{host}.{}", `no "{}"`},
		{"a.{host}.{Kind}", `no "{Kind}"`},
		{"a.{host}.{kind}.{kind}", "{kind} once"},
		{"a.{host}." + strings.Repeat("b", maxSubject), "at most 256 bytes"},
		{"a.{host}." + strings.Repeat("b", maxSubject-len("a.{host}.")), ""},
	} {
		c, err := parse("t.toml", []byte("record.format = \"json\"\nforward.servers = \"nats://a:1\"\nforward.subject = "+document.QuoteTOML(tc.subject)), true)
		switch {
		case tc.want == "" && (err != nil || c.Forward.Subject != tc.subject):
			t.Errorf("%q: got %q and %v, want it as it is", tc.subject, c.Forward.Subject, err)
		case tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "t.toml:3: forward.subject is ") || !strings.Contains(err.Error(), "want "+tc.want)):
			t.Errorf("%q: got %v, want an error at its line with %q", tc.subject, err, "want "+tc.want)
		}
	}
}

func TestForwardPathsAndNames(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, tc := range []struct {
		key, value string
		ok         bool
	}{
		{"host", long[:maxHost], true},
		{"host", long[:maxHost+1], false},
		{"host", "*.> %", true},
		{"stream", long[:255], true},
		{"stream", long[:256], false},
		{"stream", "", false},
		{"domain", "", true},
		{"state", "/" + long[:maxState-1], true},
		{"state", "/" + long[:maxState], false},
		{"state", "/", false},
		{"state", "//.", false},
		{"state", "", false},
		{"token", "credential:" + long[:255], true},
		{"token", "credential:" + long[:256], false},
		{"token", "credential:..", false},
		{"token", "/" + strings.Repeat("a/", maxPath/2) + "a", false},
		{"token", "/a b", true},
	} {
		_, err := parse("t.toml", []byte("forward."+tc.key+" = "+document.QuoteTOML(tc.value)), false)
		if (err == nil) != tc.ok {
			t.Errorf("%s = %q: got %v, want valid %v", tc.key, tc.value, err, tc.ok)
		}
	}
}

// TestForwardOfMissingDropIn: a drop-in that cannot be read may have a listener with a file.
func TestForwardOfMissingDropIn(t *testing.T) {
	_, err := parse("t.toml", []byte(onStdout), false, dropIn{path: "d.toml", fault: "is a directory"})
	if want := "d.toml: is a directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q alone", err, want)
	}
	if _, err := parse("t.toml", []byte(onStdout), false); err == nil || !strings.Contains(err.Error(), "no record goes to a file") {
		t.Errorf("without drop-ins: got %v, want that no record goes to a file", err)
	}
}

// TestSecretsAreNotShown holds that a secret that stands in the file itself is in no message.
func TestSecretsAreNotShown(t *testing.T) {
	const secret = "SUACH75SWCM5D2JMJM6EKLR2WDARVGZT4QC6LX3AGHSWOMVAKERABBBRWM"
	for _, key := range []string{"credentials", "nkey", "token", "user", "password", "ca", "certificate", "key"} {
		for _, value := range []string{secret, secret + "\n", "./" + secret, "-----BEGIN " + secret} {
			for _, form := range []string{"%", "[%]", "{ a = % }"} {
				_, err := parse("t.toml", []byte("[forward]\n"+key+" = "+strings.Replace(form, "%", document.QuoteTOML(value), 1)), false)
				if err == nil || strings.Contains(err.Error(), secret) || !strings.HasPrefix(err.Error(), "t.toml:2: forward."+key+" ") {
					t.Errorf("%s: got %v, want an error at its line without the value", key, err)
				}
			}
		}
	}
	for _, server := range []string{"nats://u:%@a:1", "nats://%@a:1", "u:%@a:1", "nats://u:%@a"} {
		server = strings.Replace(server, "%", secret, 1)
		for _, text := range []string{document.QuoteTOML(server), "[" + document.QuoteTOML(server) + "]"} {
			if _, err := parse("t.toml", []byte(delivers+"servers = "+text), false); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: got %v, want an error without the password", text, err)
			}
		}
	}
}

func TestSecretPath(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/a.service")
	for value, want := range map[string]string{"/etc/a": "/etc/a", "credential:a.b": "/run/credentials/a.service/a.b", "a.b": "/run/credentials/a.service/a.b", "": ""} {
		if got, err := SecretPath(value); got != want || err != nil {
			t.Errorf("%s: got %q and %v, want %q", value, got, err, want)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if got, err := SecretPath("credential:a.b"); err == nil || !strings.Contains(err.Error(), "LoadCredential=a.b:PATH") {
		t.Errorf("got %q and %v, want an error that says how systemd passes it", got, err)
	}
}

// TestForwardWarnings holds that likely mistakes get a warning, and nothing else does.
func TestForwardWarnings(t *testing.T) {
	const remote = "servers = [\"nats://127.0.0.1:1\", \"nats://a:1\"]\n"
	checkWarnings(t, []warned{
		{"the disk fills", "record.format = \"json\"\nforward.servers = \"nats://a:1\"", []string{
			`t.toml:2: forward.servers is set and record.min_free is "0B": files are kept until they are delivered, so that a long outage fills the disk: want min_free, such as "1GiB"`,
		}},
		{"no servers", "[forward]\ncreate = false\nrate = 5\nstream = \"A\"\nsubject = \"b.{host}\"", []string{
			`t.toml:3: forward.rate has no effect without servers: want servers, or no [forward]`,
		}},
		{"no servers, in another order", "[forward]\nsubject = \"b.{host}\"\nrate = 5", []string{
			`t.toml:2: forward.subject has no effect without servers: want servers, or no [forward]`,
		}},
		{"a stream that exists", delivers + "servers = \"nats://a:1\"\nmax_bytes = \"1MiB\"\nmax_age = \"2h\"\nreplicas = 3", []string{
			`t.toml:5: forward.max_bytes is "1MiB" and has no effect without create = true: want that, or no max_bytes`,
			`t.toml:6: forward.max_age is "2h" and has no effect without create = true: want that, or no max_age`,
			`t.toml:7: forward.replicas is 3 and has no effect without create = true: want that, or no replicas`,
		}},
		{"a new stream", delivers + "servers = \"nats://a:1\"\ncreate = true\nmax_bytes = \"1MiB\"\nmax_age = \"2h\"\nreplicas = 3", nil},
		{"a password in clear", delivers + remote + "user = \"/a\"\npassword = \"/b\"", []string{
			`t.toml:4: forward.servers has "nats://a:1", to which password is sent unencrypted unless the server demands TLS: want tls = true`,
		}},
		{"a token in clear", delivers + "servers = \"ws://192.0.2.1:1\"\ntoken = \"/a\"", []string{
			`t.toml:4: forward.servers has "ws://192.0.2.1:1", to which token is sent unencrypted unless the server demands TLS: want tls = true`,
		}},
		{"a token on the machine itself", delivers + "servers = [\"nats://localhost:1\", \"nats://127.1.2.3:1\", \"nats://[::1]:1\"]\ntoken = \"/a\"", nil},
		{"a token over tls://", delivers + "servers = \"tls://a:1\"\ntoken = \"/a\"", nil},
		{"a token with tls", delivers + remote + "token = \"/a\"\ntls = true", nil},
		{"a token with ca", delivers + remote + "token = \"/a\"\nca = \"/b\"", nil},
		{"a token with a certificate", delivers + remote + "token = \"/a\"\ncertificate = \"/b\"\nkey = \"/c\"", nil},
		{"credentials, which are not sent", delivers + remote + "credentials = \"/a\"", nil},
		{"a listener's file alone", "address = []\n" + ends + "file = \"a.log\"\n[record]\nfile = \"-\"\nformat = \"json\"\nmin_free = \"1GiB\"\n[forward]\nservers = \"nats://a:1\"", nil},
	})
}

// TestForwardErrorsDependOnNoInvalidKey: its value is unknown.
func TestForwardErrorsDependOnNoInvalidKey(t *testing.T) {
	for _, text := range []string{
		"record.format = \"xml\"\nrecord.min_free = \"1GiB\"\nforward.servers = \"nats://a:1\"",
		"record.format = \"json\"\nrecord.min_free = 5\nforward.servers = \"nats://a:1\"",
		"record.format = \"json\"\nrecord.file = \"\"\nrecord.min_free = \"1GiB\"\nforward.servers = \"nats://a:1\"",
		onStdout + ends + "file = 5",
		"forward.servers = 5\nforward.rate = 5",
		delivers + "servers = \"nats://a:1\"\ncreate = 5\nreplicas = 3",
		delivers + "servers = \"nats://a:1\"\nuser = \"a\"\npassword = \"/b\"\ntls = true",
		delivers + "servers = \"nats://a:1\"\ncertificate = \"/a\"\nkey = \"b\"",
		delivers + "servers = \"nats://a:1\"\ncredentials = \"a\"\nnkey = \"/b\"",
	} {
		c, err := parse("t.toml", []byte(text), false)
		if err == nil || strings.Count(err.Error(), "\n") > 0 || len(c.Warnings) > 0 {
			t.Errorf("%s: got error %v and warnings %q, want one fault and no warning", text, err, c.Warnings)
		}
	}
}

func TestRecordPaths(t *testing.T) {
	t.Setenv("LOGS_DIRECTORY", "/logs:/more")
	const more = "\n[[listener]]\nname = \"b\"\naddress = \":2\"\n"
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"the default", "", []string{"/logs/records.log"}},
		{"absolute", "record.file = \"/a//b/../c.log\"", []string{"/a/c.log"}},
		{"standard output", "record.file = \"-\"", nil},
		{"of listeners, also of one that records into the common one", "record.file = \"a/r.log\"" + ends + "file = \"b.log\"" + more, []string{"/logs/a/r.log", "/logs/b.log"}},
		{"of a listener alone", "record.file = \"-\"" + ends + "file = \"/b.log\"", []string{"/b.log"}},
	} {
		c := load(t, tc.text)
		if got := c.RecordPaths(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	c := Default()
	c.Listeners = append(c.Listeners, Listener{File: "records.log"})
	if got, want := c.RecordPaths(), []string{"/logs/records.log"}; !slices.Equal(got, want) {
		t.Errorf("a file twice: got %q, want %q", got, want)
	}
	t.Setenv("LOGS_DIRECTORY", "")
	dir := t.TempDir()
	t.Chdir(dir)
	if got, want := c.RecordPaths(), []string{filepath.Join(dir, "records.log")}; !slices.Equal(got, want) {
		t.Errorf("below the working directory: got %q, want %q", got, want)
	}
}

// TestLoadForward holds that what only the daemon needs may be missing, and nothing else.
func TestLoadForward(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("exec = [\"/no/such/program\"]\nexec_user = \"no-such-user\"\nlimits.rules = \"/no/such/rules\"\n" + delivers + "servers = \"nats://a:1\"\ncredentials = \"/no/such/file\"")
	if _, err := Load(path); err == nil {
		t.Error("got no error for the daemon, want one")
	}
	c, err := LoadForward(path)
	if err != nil || c.Forward.Servers[0] != "nats://a:1" || c.Path != path || c.Fingerprint != FingerprintOf(path) {
		t.Errorf("got %+v and %v, want what the file says", c.Forward, err)
	}
	write("banner = 5")
	if _, err := LoadForward(path); err == nil {
		t.Error("got no error for a file with one, want it")
	}
}

// TestTooManyFilesToDeliver would not fit into a message.
func TestTooManyFilesToDeliver(t *testing.T) {
	for _, n := range []int{maxForwarded - 1, maxForwarded} { // and that of [record]
		var b strings.Builder
		b.WriteString("[record]\nformat = \"json\"\nmin_free = \"1GiB\"\n[forward]\nservers = \"nats://127.0.0.1:4222\"\n")
		for i := range n {
			fmt.Fprintf(&b, "[[listener]]\nname = \"l%d\"\naddress = \"127.0.0.1:%d\"\nfile = \"/var/log/tcpmux/%d.log\"\n", i, 10_000+i, i)
		}
		path := filepath.Join(t.TempDir(), "tcpmux.toml")
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadForward(path)
		if many := err != nil && strings.Contains(err.Error(), "1001 record files, want at most 1000"); many != (n == maxForwarded) || err != nil && !many {
			t.Errorf("%d listeners: got %v", n, err)
		}
	}
}
