package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"tcpmux/config/document"
)

// secure is a configuration with nothing to warn of, which ends in [tls].
const secure = "[tls]\ncertificate = \"/a.pem\"\nkey = \"a.key\"\n"

// withClients is secure for clients with certificates.
const withClients = secure + "client_ca = \"/ca.pem\"\nclient_auth = \"require\"\n"

// ownTLS ends a table with a [[listener]] and the head of its own [listener.tls].
const ownTLS = ends + "[listener.tls]\n"

// TestTLSIsInherited holds what a [[listener]] has of [tls].
func TestTLSIsInherited(t *testing.T) {
	top := TLS{Certificate: "/a.pem", Key: "a.key", ClientCA: "/ca.pem", ClientAuth: "require", MinVersion: "1.3", HandshakeTimeout: 10e9, Survive: "auto"}
	other := top
	other.Certificate, other.Key, other.Survive = "/b.pem", "credential:b.key", "off"
	clear := Default().Listeners[0].TLS
	later := clear
	later.HandshakeTimeout = 5e9
	for _, tc := range []struct {
		name, text string
		want       TLS
	}{
		{"nothing of its own", withClients + ends, top},
		{"a certificate of its own", withClients + ownTLS + "certificate = \"/b.pem\"\nkey = \"credential:b.key\"\nsurvive = \"off\"", other},
		{"clear text", withClients + ownTLS + `certificate = ""`, clear},
		{"clear text in a dotted key", withClients + ends + `tls.certificate = ""`, clear},
		{"clear text with a value of its own", withClients + ownTLS + "certificate = \"\"\nhandshake_timeout = \"5s\"", later},
		{"TLS of one listener alone", ownTLS + "certificate = \"/a.pem\"\nkey = \"a.key\"\nclient_ca = \"/ca.pem\"\nclient_auth = \"require\"", top},
		{"no main listener", "address = []\n" + withClients + ends, top},
	} {
		c := load(t, tc.text)
		got := c.Listeners[len(c.Listeners)-1].TLS
		if !reflect.DeepEqual(got, tc.want) || got.On() != (tc.want.Certificate != "") {
			t.Errorf("%s: got %+v, want %+v", tc.name, got, tc.want)
		}
		roundTrip(t, c)
	}
}

// TestTLSContradictions holds that each is reported once, at its line, however many listeners have
// it, and that no other setting is reported.
func TestTLSContradictions(t *testing.T) {
	const two = ends + "[[listener]]\nname = \"b\"\naddress = \":2\"\n"
	for _, tc := range []struct{ name, text, want string }{
		{"a certificate alone", "[tls]\ncertificate = \"/a.pem\"" + two, "t.toml:2: tls.certificate is set without key: want both"},
		{"a key alone", "[tls]\nkey = \"/a.key\"" + two, "t.toml:2: tls.key is set without certificate: want both"},
		{"a listener's certificate alone", ownTLS + `certificate = "/a.pem"`, `t.toml:6: listener "a": tls.certificate is set without key: want both`},
		{"a key next to clear text", secure + ownTLS + "certificate = \"\"\nkey = \"/b.key\"", `t.toml:10: listener "a": tls.key is set without certificate: want both`},
		{"clients without an authority", secure + `client_auth = "require"` + two, `t.toml:4: tls.client_auth is "require" without client_ca: want client_ca, the certificates that those of clients are signed by, or "none"`},
		{"clients without an authority, of no main listener", "address = []\n" + secure + `client_auth = "request"` + two,
			`t.toml:6: listener "a": tls.client_auth (inherited from line 5) is "request" without client_ca: want client_ca, the certificates that those of clients are signed by, or "none"`},
		{"revoked certificates of nobody", secure + `crl = "/crl"`, "t.toml:4: tls.crl is set without client_ca: want client_ca, or no crl"},
		{"a subject of nobody", secure + `allow_subjects = ["CN=a"]`, `t.toml:4: tls.allow_subjects is set and client_auth is "none", so that no client shows a certificate: want client_auth = "require" or "request", or []`},
		{"a subject of nobody in a listener", withClients + `deny_subjects = ["CN=a"]` + ownTLS + `client_auth = "none"`,
			`t.toml:7: listener "a": tls.deny_subjects (inherited from line 6) is set and client_auth is "none", so that no client shows a certificate: want client_auth = "require" or "request", or []`},
		{"a subject on both sides", withClients + "allow_subjects = [\"CN=a\", \"CN=b\"]\ndeny_subjects = [\n\"CN=b\"]" + two, `t.toml:7: tls.deny_subjects has "CN=b", which is also in allow_subjects: want it in one of them`},
		{"survival of TLS 1.2", secure + "min_version = \"1.2\"\nsurvive = \"require\"" + two, `t.toml:5: tls.survive is "require" and min_version is "1.2", whose clients cannot survive: want min_version = "1.3", or survive = "auto"`},
		{"survival of a program", secure + `survive = "require"` + ends + `exec = ["/bin/cat"]`, `t.toml:5: listener "a": tls.survive (inherited from line 4) is "require" and exec runs a program for each client, which cannot survive: want "auto", or exec = []`},
		{"survival in processes", "model = \"process\"\n" + secure + ownTLS + `survive = "require"`, `t.toml:10: listener "a": tls.survive is "require" and model (inherited from line 1) is "process", whose TLS clients cannot survive: want "auto", or another model`},
		{"survival of nobody", "survive = false\n" + secure + `survive = "require"` + two, `t.toml:5: tls.survive is "require" and the top-level survive is false: want survive = true, or "auto"`},
	} {
		if _, err := parse("t.toml", []byte(tc.text), false); err == nil || err.Error() != tc.want {
			t.Errorf("%s: got\n%v\nwant\n%s", tc.name, err, tc.want)
		}
	}
	_, err := parse("t.toml", []byte(withClients+ends+"tls.key = \"\"\n[[listener]]\nname = \"b\"\naddress = \":2\"\ntls.key = \"\""), false)
	if err == nil || strings.Count(err.Error(), "tls.certificate (inherited from line 2) is set without key: want both") != 2 {
		t.Errorf("the same in two listeners: got %v, want it of each", err)
	}
	for name, text := range map[string]string{
		"what is not on":   "address = []\n[tls]\nclient_auth = \"require\"\nsurvive = \"require\"\nmin_version = \"1.2\"" + ends,
		"clear text":       withClients + "survive = \"require\"" + ends + "model = \"process\"\ntls.certificate = \"\"",
		"an inherited key": secure + ownTLS + `certificate = "/b.pem"`,
	} {
		if _, err := parse("t.toml", []byte(text), false); err != nil {
			t.Errorf("%s: got %v, want no error", name, err)
		}
	}
}

// TestTLSWarnings holds that keys without effect get one, and nothing else does.
func TestTLSWarnings(t *testing.T) {
	checkWarnings(t, []warned{
		{"all in order", withClients + "crl = \"/crl\"\nallow_subjects = [\"CN=*\"]\nsurvive = \"require\"", nil},
		{"defaults", "[tls]\ncertificate = \"\"\nkey = \"\"\nclient_auth = \"none\"\nmin_version = \"1.3\"\nsurvive = \"auto\"", nil},
		{"no certificate", "[tls]\nmin_version = \"1.2\"\nallow_subjects = [\"CN=a\"]", []string{
			`t.toml:2: tls.min_version is "1.2" and has no effect without certificate: want certificate and key, or no min_version`,
			`t.toml:3: tls.allow_subjects is an array and has no effect without certificate: want certificate and key, or no allow_subjects`,
		}},
		{"a certificate elsewhere, which inherits it", "[tls]\nhandshake_timeout = \"5s\"" + ownTLS + "certificate = \"/a.pem\"\nkey = \"/a.key\"", nil},
		{"no certificate in a listener", secure + ownTLS + "certificate = \"\"\nclient_ca = \"/ca.pem\"", []string{
			`t.toml:10: listener "a": tls.client_ca is "/ca.pem" and has no effect without certificate: want certificate and key, or no client_ca`,
		}},
		{"an authority of nobody", secure + `client_ca = "/ca.pem"`, []string{
			`t.toml:4: tls.client_ca is "/ca.pem" and has no effect with client_auth = "none": want "request" or "require" there, or no client_ca`,
		}},
		{"an authority that another uses", secure + `client_ca = "/ca.pem"` + ownTLS + `client_auth = "request"`, nil},
		{"an inherited authority", withClients + ownTLS + `client_auth = "none"`, nil},
	})
}

// TestTLSNeedsNoInvalidKey: what depends on a key with an error is unknown.
func TestTLSNeedsNoInvalidKey(t *testing.T) {
	for _, text := range []string{
		"[tls]\ncertificate = 5\nkey = \"/a.key\"\nclient_ca = \"/ca.pem\"",
		"[tls]\ncertificate = \"/a.pem\"\nkey = \"./a.key\"",
		secure + "client_auth = true\nclient_ca = \"/ca.pem\"\nallow_subjects = [\"CN=a\"]",
		secure + "client_auth = \"require\"\nclient_ca = \"ca/ca.pem\"",
		withClients + "allow_subjects = [\"CN=a\", 5]\ndeny_subjects = [\"CN=a\"]",
		"exec = [\"/no/such\"]\n" + secure + `survive = "require"`,
	} {
		c, err := parse("t.toml", []byte(text), false)
		if err == nil || strings.Count(err.Error(), "\n") > 0 || len(c.Warnings) > 0 {
			t.Errorf("%s: got error %v and warnings %q, want one fault and no warning", text, err, c.Warnings)
		}
	}
}

func TestTLSValues(t *testing.T) {
	for _, tc := range []struct {
		key, value string
		ok         bool
	}{
		{"key", `"a.key"`, true},
		{"key", `"credential:a.key"`, true},
		{"key", `"/a b/c.key"`, true},
		{"key", `"tls/a.key"`, false},
		{"key", `"./a.key"`, false},
		{"key", `".."`, false},
		{"key", `"/etc/"`, false},
		{"key", `"a\nb"`, false},
		{"client_auth", `"optional"`, false},
		{"min_version", `1.3`, false},
		{"min_version", `"1.1"`, false},
		{"handshake_timeout", `"999ms"`, false},
		{"handshake_timeout", `"1s"`, true},
		{"handshake_timeout", `"10m"`, true},
		{"handshake_timeout", `"601s"`, false},
		{"survive", `true`, false},
		{"allow_subjects", `"CN=a"`, false},
		{"allow_subjects", `[""]`, false},
		{"allow_subjects", `["*"]`, true},
		{"allow_subjects", `["CN=a\u0007"]`, false},
		{"allow_subjects", `["CN=a\u202e"]`, false},
		{"allow_subjects", document.ArrayTOML([]string{strings.Repeat("é", maxPattern/2)}), true},
		{"allow_subjects", document.ArrayTOML([]string{strings.Repeat("a", maxPattern+1)}), false},
		{"allow_subjects", document.ArrayTOML(slices.Repeat([]string{"a"}, maxPatterns)), true},
		{"allow_subjects", document.ArrayTOML(slices.Repeat([]string{"a"}, maxPatterns+1)), false},
	} {
		text := withClients + tc.key + " = " + tc.value
		if tc.key == "key" || tc.key == "client_auth" {
			text = strings.Replace(withClients, tc.key+" = ", tc.key+" = "+tc.value+" # ", 1)
		}
		if _, err := parse("t.toml", []byte(text), false); (err == nil) != tc.ok {
			t.Errorf("%s = %s: got %v, want valid %v", tc.key, tc.value, err, tc.ok)
		}
	}
}

// TestKeysAreNotShown holds that a key that stands in the file itself is in no message.
func TestKeysAreNotShown(t *testing.T) {
	const secret = "MHcCAQEEIJ1gpLRzlkAq0n"
	for _, value := range []string{"-----BEGIN EC PRIVATE KEY-----\n" + secret, secret + "==", "./" + secret} {
		_, err := parse("t.toml", []byte("[tls]\ncertificate = \"/a.pem\"\nkey = "+document.QuoteTOML(value)), false)
		if err == nil || strings.Contains(err.Error(), secret) || !strings.HasPrefix(err.Error(), "t.toml:3: tls.key ") {
			t.Errorf("got %v, want an error at its line without the value", err)
		}
	}
}
