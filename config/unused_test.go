package config

import (
	"slices"
	"testing"
)

// ends ends the top-level keys with a [[listener]].
const ends = "\n[[listener]]\nname = \"a\"\naddress = \":1\"\n"

// warned is a text and the warnings about it.
type warned struct {
	name, text string
	want       []string
}

func checkWarnings(t *testing.T, cases []warned) {
	t.Helper()
	for _, c := range cases {
		if got := load(t, c.text).Warnings; !slices.Equal(got, c.want) {
			t.Errorf("%s: got\n%q\nwant\n%q", c.name, got, c.want)
		}
	}
}

// TestUnusedKeys holds that a key without effect gets a warning, and no other.
func TestUnusedKeys(t *testing.T) {
	checkWarnings(t, []warned{
		{"defaults", "exec_user = \"\"\nexec_timeout = \"0s\"\nexec_memory = \"0B\"\nclients_per_process = 100\nack_timeout = \"30s\"\n" +
			"survive = false\nsurvive_after = \"1s\"\nlimits.source_prefix = \"32/64\"", nil},
		{"no program", "exec_user = \"nobody\"\nexec_timeout = \"1s\"\nexec_memory = \"64MiB\"", []string{
			`t.toml:1: exec_user is "nobody" and has no effect without exec: want exec, or no exec_user`,
			`t.toml:2: exec_timeout is "1s" and has no effect without exec: want exec, or no exec_timeout`,
			`t.toml:3: exec_memory is "64MiB" and has no effect without exec: want exec, or no exec_memory`,
		}},
		{"a program elsewhere, which inherits it", "exec_timeout = \"1s\"" + ends + `exec = ["/bin/cat"]`, nil},
		{"a program elsewhere", "exec = [\"/bin/cat\"]" + ends + "record = true\nexec = []\nexec_timeout = \"1s\"", []string{
			`t.toml:7: listener "a": exec_timeout is "1s" and has no effect without exec: want exec, or no exec_timeout`,
		}},
		{"no process", "clients_per_process = 1\nmodel = \"thread\"", []string{
			`t.toml:1: clients_per_process is 1 and has no effect without model = "process": want that, or no clients_per_process`,
		}},
		{"a process only at the top, which is left out", "address = []\nmodel = \"process\"\nclients_per_process = 1" + ends + `model = "thread"`, []string{
			`t.toml:3: clients_per_process is 1 and has no effect without model = "process": want that, or no clients_per_process`,
		}},
		{"no acknowledgement", "ack_timeout = \"0s\"", []string{
			`t.toml:1: ack_timeout is "0s" and has no effect without ack: want ack, or no ack_timeout`,
		}},
		{"an acknowledgement", "ack = \"ok\"\nack_timeout = \"0s\"", nil},
		{"framing of what a program reads", ends + "exec = [\"/bin/cat\"]\nframing = \"nul\"\nmax_message = \"1KiB\"", []string{
			`t.toml:6: listener "a": framing is "nul" and has no effect unless the [[listener]] records what clients send: want record = true, or another service, or no framing`,
			`t.toml:7: listener "a": max_message is "1KiB" and has no effect unless the [[listener]] records what clients send: want record = true, or another service, or no max_message`,
		}},
		{"framing of what is recorded first", ends + "exec = [\"/bin/cat\"]\nrecord = true\nframing = \"nul\"", nil},
		{"nobody survives", "survive = false\nsurvive_after = \"2s\"", []string{
			`t.toml:2: survive_after is "2s" and has no effect with survive = false: want survive = true, or no survive_after`,
		}},
		{"no source is counted", "limits.source_prefix = \"24/56\"", []string{
			`t.toml:1: limits.source_prefix is "24/56" and has no effect without clients_per_source or rate_per_source: want one of them, or no source_prefix`,
		}},
		{"the sources of a listener are counted", "limits.source_prefix = \"24/56\"" + ends + "limits.rate_per_source = \"1/s\"", nil},
	})
}

// TestFramingsThatCutOtherwiseThanIsMeant get a warning.
func TestFramingsThatCutOtherwiseThanIsMeant(t *testing.T) {
	checkWarnings(t, []warned{
		{"delimiters that all have an effect", "framing = \"delimited\"\ndelimiter = [\"\\r\\n\", \"\\n\", \"\\r\", \"#\\n\"]", nil},
		{"a delimiter behind another one", "framing = \"delimited\"\ndelimiter = [\"a;b\", { hex = \"3b\" }]", []string{
			`t.toml:2: delimiter is "a;b" and has no effect: { hex = "3b" } in it ends a message before it does`,
		}},
		{"a delimiter that what it begins with ends, and then itself again", "framing = \"delimited\"\ndelimiter = [\"a\", \"aabc\"]", []string{
			`t.toml:2: delimiter is "aabc" and has no effect: "a" in it ends a message before it does`,
		}},
		{"a delimiter that goes on past another within it", "framing = \"delimited\"\ndelimiter = [\"abac\", \"ab\", \"ba\"]", nil},
		{"no placeholder", "framing = \"delimited\"\ndelimiter = \"{time}\"", nil},
		{"large messages", "framing = \"fixed\"\nmessage_size = 2000\nmax_message = \"1KiB\"", []string{
			`t.toml:2: message_size is 2000, more than max_message = "1KiB": every message is recorded in pieces`,
		}},
		{"lengths of which some are enough", "framing = \"length-prefixed\"\nlength_size = 1\nlength_adjust = -255", nil},
		{"lengths of which none is enough", "framing = \"length-prefixed\"\nlength_size = 1\nlength_adjust = -256" + ends + "length_size = 2\nlength_adjust = -65536", []string{
			`t.toml:3: length_adjust is -256, and the largest length is 255 (length_size = 1): every message is malformed`,
			`t.toml:8: listener "a": length_adjust is -65536, and the largest length is 65535 (length_size = 2): every message is malformed`,
		}},
		{"much behind each length", "framing = \"length-prefixed\"\nlength_adjust = 1025\nmax_message = \"1KiB\"", []string{
			`t.toml:2: length_adjust is 1025, more than max_message = "1KiB": every message is recorded in pieces`,
		}},
		{"timeouts that are longer", "framing = \"silence\"\nsilence = \"1s\"\nidle_timeout = \"1001ms\"\nlimits.message_timeout = \"2s\"\nlimits.max_session = \"1001ms\"", nil},
		{"timeouts that are shorter", "framing = \"silence\"\nidle_timeout = \"1s\"\nlimits.message_timeout = \"10ms\"" + ends + "silence = \"1s\"", []string{
			`t.toml:3: limits.message_timeout is "10ms" and silence is "50ms": each client is closed before its message ends`,
			`t.toml:4: listener "a": idle_timeout (inherited from line 2) is "1s" and silence is "1s": each client is closed before its message ends`,
			`t.toml:4: listener "a": limits.message_timeout (inherited from line 3) is "10ms" and silence is "1s": each client is closed before its message ends`,
		}},
		{"sessions that are shorter", "framing = \"silence\"\nsilence = \"1s\"\nlimits.max_session = \"1s\"", []string{
			`t.toml:3: limits.max_session is "1s" and silence is "1s": each client is closed before its message ends`,
		}},
	})
}

// TestUnusedBounds holds that a bound which a program's clients do not have gets a warning.
func TestUnusedBounds(t *testing.T) {
	checkWarnings(t, []warned{
		{"bounds of a program", "exec = [\"/bin/cat\"]\nack = \"ok\"\nidle_timeout = \"5m\"\nlimits.max_session = \"1h\"\nlimits.max_session_bytes = \"1KiB\"\nlimits.message_timeout = \"1s\"", []string{
			`t.toml:2: ack is "ok" and has no effect with exec: only the program answers`,
			`t.toml:3: idle_timeout is "5m" and has no effect with exec unless record = true: exec_timeout limits a program`,
			`t.toml:5: limits.max_session_bytes is "1KiB" and has no effect with exec unless record = true: max_session and exec_timeout limit a program`,
			`t.toml:6: limits.message_timeout is "1s" and has no effect with exec unless record = true: exec_timeout limits a program`,
		}},
		{"bounds that a program inherits", "idle_timeout = \"5m\"\nlimits.message_timeout = \"1s\"" + ends + `exec = ["/bin/cat"]`, []string{
			`t.toml:3: listener "a": idle_timeout (inherited from line 1) is "5m" and has no effect with exec unless record = true: exec_timeout limits a program`,
			`t.toml:3: listener "a": limits.message_timeout (inherited from line 2) is "1s" and has no effect with exec unless record = true: exec_timeout limits a program`,
		}},
		{"a file for the sessions of a program", ends + "file = \"x.log\"\nexec = [\"/bin/cat\"]", nil},
		{"bounds of what is recorded first", "idle_timeout = \"5m\"\nlimits.message_timeout = \"1s\"" + ends + "exec = [\"/bin/cat\"]\nrecord = true", nil},
	})
}

// TestNoWarningDependsOnAnInvalidKey: its value is unknown.
func TestNoWarningDependsOnAnInvalidKey(t *testing.T) {
	for _, text := range []string{
		"exec = [\"/no/such/program\"]\nexec_timeout = \"1s\"",
		"model = \"proces\"\nclients_per_process = 1",
		"ack = 7\nack_timeout = \"1s\"",
		"framing = \"length-prefixed\"\nlength_size = 0\nlength_adjust = -65536",
		"framing = \"length-prefixed\"\nmax_message = 7\nlength_adjust = 65536",
		"limits.rate_per_source = 7\nlimits.source_prefix = \"24/56\"",
		"survive = 0\nsurvive_after = \"2s\"",
	} {
		if c, err := parse("t.toml", []byte(text), false); err == nil || len(c.Warnings) > 0 {
			t.Errorf("%s: got error %v and warnings %q, want a fault and no warning", text, err, c.Warnings)
		}
	}
}
