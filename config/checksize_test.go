package config

import "testing"

// TestRecordsOfTLSClientsAreLonger by the names that these have.
func TestRecordsOfTLSClientsAreLonger(t *testing.T) {
	const text = "max_message = \"16MiB\"\n[record]\nmax_size = \"1MiB\"\n"
	for _, c := range []struct{ name, text, want string }{
		{"clear text", text, `want max_size "65537KiB" or more, or max_message "255KiB" or less`},
		{"TLS", text + "[tls]\ncertificate = \"/x.pem\"\nkey = \"/x.key\"\n", `want max_size "65542KiB" or more, or max_message "254KiB" or less`},
	} {
		_, err := parse("t.toml", []byte(c.text), false)
		want := `t.toml:3: record.max_size is "1MiB", and with max_message = "16MiB" a record can be longer: ` + c.want
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", c.name, err, want)
		}
	}
}
