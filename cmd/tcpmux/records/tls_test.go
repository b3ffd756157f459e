package records

import (
	"fmt"
	"strings"
	"testing"

	"tcpmux/daemon/record"
)

// device returns a pen of a client with that subject.
func device(f record.Format, session, remote, subject string) *pen {
	p := &pen{Encoder: record.NewEncoder(f)}
	p.Begin(&record.Source{Listener: "tcpmux", Session: session, Remote: remote, TLS: &record.TLS{
		Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: "a.example", Subject: subject,
	}}, noon)
	return p
}

const anySubject = `CN="one",O=\{"time":"`

// TestVerifyKnowsClientsByTheirSubject: all records of a session have one, also among
// those of others.
func TestVerifyKnowsClientsByTheirSubject(t *testing.T) {
	one := func() *pen { return device(record.JSON, "8f3a-2d", "192.0.2.8:1", anySubject) }
	whole := one().open().say(0, "a", "\n", "").String() +
		device(record.JSON, "8f3a-2e", "192.0.2.9:1", "CN=two").open().say(0, "b", "\n", "").close(1, 2).String() +
		js().open().say(0, "c", "\n", "").close(1, 2).String() +
		one().say(2, "d", "\n", "").close(2, 4).String()
	other := strings.Replace(whole, `"subject":"CN=two","offset"`, `"subject":"CN=three","offset"`, 1)
	without := strings.Replace(whole, `,"subject":"CN=two","offset"`, `,"offset"`, 1)
	const differs = "4: session 8f3a-2e: is that of 192.0.2.9:1%s on listener tcpmux, and was of 192.0.2.9:1 (\"CN=two\") on tcpmux before"
	for _, c := range []struct {
		name, text string
		faults     []string
	}{
		{"whole", whole, nil},
		{"another subject", other, []string{fmt.Sprintf(differs, ` ("CN=three")`)}},
		{"no subject", without, []string{fmt.Sprintf(differs, "")}},
		{"glued", strings.Replace(whole, "}\n", "}", 1), []string{"1: two records are glued together"}},
		{"text", device(record.Text, "", "192.0.2.8:1", anySubject).open().say(0, "a", "\n", "").close(1, 2).String(), nil},
	} {
		if _, faults := verified(t, c.text); !match(faults, c.faults) {
			t.Errorf("%s: got %q, want %q", c.name, faults, c.faults)
		}
	}
}

func TestCatOfTLSClients(t *testing.T) {
	text := device(record.JSON, "8f3a-2d", "192.0.2.8:1", anySubject).open().say(0, "a", "\n", "").String() +
		device(record.JSON, "8f3a-2e", "192.0.2.9:1", "CN=two").open().say(0, "b", "\n", "").close(1, 2).String()
	if got, faults, err := played(t, text, Selection{Session: "8f3a-2d"}); got != "a\n" || faults != "" || err != nil {
		t.Errorf("got %q, %q and %v, want the message of the one", got, faults, err)
	}
}
