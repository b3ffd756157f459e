package daemon

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/config"
)

// TestAReloadReadsDropIns: a listener of a drop-in changes as one of the main file does.
func TestAReloadReadsDropIns(t *testing.T) {
	main := filepath.Join(t.TempDir(), "main.toml")
	first, second := filepath.Join(config.DropInDir(main), "first.toml"), filepath.Join(config.DropInDir(main), "second.toml")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const listener = "[[listener]]\nname = %q\naddress = %q\nbanner = %q\n"
	address := freeAddress(t)
	load := func(cfg *config.Config) (err error) {
		*cfg, err = config.Load(main)
		return err
	}
	r := run(t, func(cfg *config.Config) {
		var text bytes.Buffer
		if err := cfg.WriteTOML(&text); err != nil {
			t.Fatal(err)
		}
		put(main, text.String())
		if err := os.Mkdir(config.DropInDir(main), 0o755); err != nil {
			t.Fatal(err)
		}
		put(first, fmt.Sprintf(listener, "first", address, "one\n"))
		if err := load(cfg); err != nil {
			t.Fatal(err)
		}
	})
	hello := func() string {
		t.Helper()
		r.dial().Close() // it is up
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return greeting(t, conn.(*net.TCPConn))
	}
	for _, c := range []struct {
		name, file, text string
		banner           string // afterwards
		log              []string
	}{
		{"a changed value", first, fmt.Sprintf(listener, "first", address, "two\n"), "two\n", []string{
			`msg="setting changed" key="listener \"first\": banner" from="\"one\\n\"" to="\"two\\n\"" effect="new clients" file=` + first,
			`msg="configuration reloaded" file=` + main + ` drop_ins=1`}},
		{"a fault", second, "banner = 'x'\n", "two\n", []string{
			`level=ERROR msg="configuration not reloaded" err="` + second + `:1: banner is not allowed in a drop-in`}},
		{"a new listener", second, fmt.Sprintf(listener, "second", freeAddress(t), ""), "two\n", []string{
			`msg="setting changed" key="listener \"second\": name" from="" to="\"second\"" effect=restart file=` + second + ` by="a new start"`,
			`msg="configuration reloaded" file=` + main + ` drop_ins=2`}},
	} {
		put(c.file, c.text)
		r.reload(load)
		for _, want := range c.log {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("%s: the log lacks %s:\n%s", c.name, want, r.log)
			}
		}
		if got := hello(); got != c.banner {
			t.Errorf("%s: got greeting %q, want %q", c.name, got, c.banner)
		}
	}
}
