package config

import (
	"fmt"
	"testing"
)

// TestServices holds what a service has the other keys be, and that a file says the same when it is
// written.
func TestServices(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
	}{
		{"nothing", "", `record "top" true false`},
		{"a program", `exec = ["/bin/cat"]`, `exec "" false false`},
		{"a program that is named", "exec = [\"/bin/cat\"]\nservice = \"exec\"", `exec "" false false`},
		{"a record that is named", `service = "record"`, `record "top" true false`},
		{"echo", `service = "echo"`, `echo "" false true`},
		{"discard with a banner", "service = \"discard\"\nbanner = \"own\"", `discard "own" false true`},
		{"daytime", `service = "daytime"`, `daytime "" false true`},
		{"time", `service = "time"`, `time "" false true`},
		{"chargen on a thread", "service = \"chargen\"\nmodel = \"thread\"", `chargen "" false true`},
		{"an echo that is recorded", "service = \"echo\"\nrecord = true", `echo "" true false`},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := load(t, "banner = \"top\""+ends+c.text)
			l := all.Listeners[1]
			if got := fmt.Sprintf("%s %q %v %v", l.Service, l.Banner.Raw, l.Record, l.OffRecord()); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if l.BuiltIn() != (l.Service != ServiceRecord && l.Service != ServiceExec) {
				t.Errorf("%s: got built in %v", l.Service, l.BuiltIn())
			}
			roundTrip(t, all)
		})
	}
}

// TestServiceOfAnInheritedProgram: the program of the top level serves no listener that has another
// service.
func TestServiceOfAnInheritedProgram(t *testing.T) {
	_, err := parse("t.toml", []byte(`exec = ["/bin/cat"]`+ends+`service = "echo"`), false)
	const want = `t.toml:5: listener "a": service is "echo", and exec (inherited from line 1) runs a program for each client: want exec = [], or no service`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	c := load(t, `exec = ["/bin/cat"]`+ends+"service = \"echo\"\nexec = []")
	if got := c.Listeners[1].Service; got != ServiceEcho {
		t.Errorf("got %s, want echo", got)
	}
}

// TestKeysThatABuiltInServiceHasNoUseFor get a warning.
func TestKeysThatABuiltInServiceHasNoUseFor(t *testing.T) {
	checkWarnings(t, []warned{
		{"bounds and a banner", ends + "service = \"echo\"\nbanner = \"hi\"\nidle_timeout = \"5m\"\nlimits.max_session = \"1m\"\nlimits.max_session_bytes = \"1KiB\"", nil},
		{"messages that are not cut", ends + "service = \"discard\"\nframing = \"nul\"\nack = \"ok\"\nlimits.message_timeout = \"1s\"", []string{
			`t.toml:6: listener "a": framing is "nul" and has no effect unless the [[listener]] records what clients send: want record = true, or another service, or no framing`,
			`t.toml:7: listener "a": ack is "ok" and has no effect with service = "discard": want service = "discard" and record = true, or ack = ""`,
			`t.toml:8: listener "a": limits.message_timeout is "1s" and has no effect with service = "discard" unless that records messages: max_session limits a client`,
		}},
		{"messages that are cut", ends + "service = \"discard\"\nrecord = true\nframing = \"nul\"\nack = \"ok\"\nlimits.message_timeout = \"1s\"", nil},
		{"acknowledgements among the echo", ends + "service = \"echo\"\nrecord = true\nack = \"ok\"", []string{
			`t.toml:7: listener "a": ack is "ok" and has no effect with service = "echo": want service = "discard" and record = true, or ack = ""`,
		}},
		{"a time to take what is sent back", ends + "service = \"echo\"\nrecord = true\nack_timeout = \"1s\"", nil},
		{"messages where clients send none", ends + "service = \"chargen\"\nrecord = true\nframing = \"nul\"", []string{
			`t.toml:7: listener "a": framing is "nul" and has no effect unless the [[listener]] records what clients send: want record = true, or another service, or no framing`,
		}},
	})
}
