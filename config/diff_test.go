package config

import (
	"slices"
	"testing"
	"time"
)

func TestDiff(t *testing.T) {
	telnet := Default().Listeners[0]
	telnet.Name, telnet.Address = "telnet", []string{"127.0.0.1:23"}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"nothing", func(*Config) {}, nil},
		{"a few keys", func(c *Config) {
			c.Listeners[0].Banner, c.Record.Events, c.DrainTimeout = Text("hi\n"), EventsOnData, time.Minute
		}, []string{
			`banner: "Welcome connect!\r\n" -> "hi\n"`,
			`drain_timeout: "10s" -> "1m"`,
			`record.events: true -> "on-data"`,
		}},
		{"where records are delivered", func(c *Config) {
			c.Forward.Servers, c.Forward.Token = []string{"nats://a:1", "nats://b:1"}, "credential:token"
		}, []string{
			`forward.servers: [] -> ["nats://a:1", "nats://b:1"]`,
			`forward.token: "" -> "credential:token"`,
		}},
		{"a listener's key", func(c *Config) { c.Listeners[1].Backlog = 7 }, []string{`listener "telnet": backlog: 4096 -> 7`}},
		{"a listener less", func(c *Config) { c.Listeners = c.Listeners[:1] }, []string{`listener "telnet": name: "telnet" -> `}},
		{"a listener more", func(c *Config) {
			l := telnet
			l.Name = "more"
			c.Listeners = append(c.Listeners, l)
		}, []string{`listener "more": name:  -> "more"`}},
		{"no main listener", func(c *Config) { c.Listeners = c.Listeners[1:] }, []string{
			`address: "127.0.0.1:12345" -> []`, `mode: "0660" -> `, `group: "" -> `, `backlog: 4096 -> `, `banner: "Welcome connect!\r\n" -> `, `model: "goroutine" -> `, `clients_per_process: 100 -> `,
			`framing: "line" -> `, `delimiter: "" -> `, `start: "" -> `, `message_size: 0 -> `, `silence: "50ms" -> `, `length_size: 4 -> `, `length_order: "big" -> `, `length_offset: 0 -> `, `length_adjust: 0 -> `, `max_message: "64KiB" -> `, `idle_timeout: "0s" -> `, `lost_timeout: "2m" -> `, `proxy_protocol: [] -> `, `ack: "" -> `, `ack_timeout: "30s" -> `,
			`exec: [] -> `, `exec_user: "" -> `, `exec_timeout: "0s" -> `, `exec_memory: "0B" -> `,
			`proxy: [] -> `, `proxy_header: "" -> `, `connect_timeout: "10s" -> `, `proxy_tls: false -> `, `proxy_ca: "" -> `,
			`proxy_server_name: "" -> `, `proxy_certificate: "" -> `, `proxy_key: "" -> `,
			`tls.certificate: "" -> `, `tls.key: "" -> `, `tls.client_ca: "" -> `, `tls.client_auth: "none" -> `, `tls.crl: "" -> `, `tls.allow_subjects: [] -> `, `tls.deny_subjects: [] -> `, `tls.min_version: "1.3" -> `, `tls.handshake_timeout: "10s" -> `, `tls.survive: "auto" -> `,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, changed := Default(), Default()
			old.Listeners, changed.Listeners = append(old.Listeners, telnet), append(changed.Listeners, telnet)
			c.change(&changed)
			var got []string
			for _, ch := range Diff(old, changed) {
				got = append(got, ch.Title()+": "+ch.From+" -> "+ch.To)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
