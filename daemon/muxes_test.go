package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
)

// muxFile returns a configuration with a mux of the listeners named, which have no address.
func muxFile(t *testing.T, address string, names ...string) config.Config {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("drain_timeout = \"0s\"\naddress = %q\nmux = [\"%s\"]\n[record]\nfile = %q\nformat = \"json\"\n",
		address, strings.Join(names, `", "`), filepath.Join(dir, "records.log"))
	for _, name := range names {
		text += fmt.Sprintf("[[listener]]\nname = %q\nbanner = \"hello %s\\r\\n\"\n", name, name)
	}
	path := filepath.Join(dir, "tcpmux.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestAReloadAddsAndRemovesListenersOfAMux, and those who are there stay.
func TestAReloadAddsAndRemovesListenersOfAMux(t *testing.T) {
	address := freeAddress(t)
	old := muxFile(t, address, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	reload := make(chan Reload)
	var log servertest.FakeFile
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, loaded(old), Requests{Reload: reload}, &log) }()
	defer func() {
		cancel()
		if err := servertest.Result(t, ended); err != nil {
			t.Error(err)
		}
	}()
	log.Await(t, "ready")
	ask := func(name string) *servertest.Client {
		c := servertest.Dial(t, address, nil)
		c.Say(name + "\r\n")
		return c
	}
	stays := ask("a")
	stays.Hear("+Go\r\nhello a\r\n")
	next := muxFile(t, address, "b", "c")
	next.Record = old.Record
	reload <- loaded(next)
	log.Await(t, "configuration reloaded")
	for name, want := range map[string]string{"a": "-unknown service \"a\"\r\n", "HELP": "b\r\nc\r\n"} {
		if got := ask(name).HearEnd(); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	ask("c").Hear("+Go\r\nhello c\r\n")
	ask("b").Hear("+Go\r\nhello b\r\n")
	stays.Say("one\n")
	servertest.Eventually(t, func() bool {
		b, _ := os.ReadFile(old.Record.File)
		return bytes.Contains(b, []byte(`"listener":"a"`)) && bytes.Contains(b, []byte(`"data":"one"`))
	}, func() { t.Error("who was there is not recorded any more") })
	if l := log.String(); strings.Contains(l, "level=ERROR") || strings.Contains(l, "effect=restart") {
		t.Errorf("log: got %q, want nothing that needs a restart", l)
	}
}

// TestWhatIsInForceCanBeReadAgain after a reload that takes effect in part.
func TestWhatIsInForceCanBeReadAgain(t *testing.T) {
	parse := func(text string) config.Config {
		t.Helper()
		c, err := config.Parse("test.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := parse("address = ':1'\nmux = ['a', 'b']\n[[listener]]\nname = 'a'\n[[listener]]\nname = 'b'\n[[listener]]\nname = 'x'\naddress = ':2'\n")
	for name, text := range map[string]string{
		"one removed":              "address = ':1'\nmux = ['a']\n[[listener]]\nname = 'a'\n",
		"one with an address":      "address = ':1'\nmux = ['a', 'new']\n[[listener]]\nname = 'a'\n[[listener]]\nname = 'new'\naddress = ':3'\n",
		"a mux added":              "address = ':1'\nmux = ['a', 'b']\n[[listener]]\nname = 'a'\n[[listener]]\nname = 'b'\n[[listener]]\nname = 'x'\naddress = ':2'\nmux = ['a', 'c']\n[[listener]]\nname = 'c'\n",
		"no mux any more":          "address = ':1'\n[[listener]]\nname = 'a'\naddress = ':4'\n",
		"a mux that needs a start": "address = ':1'\nmux = ['b']\n[[listener]]\nname = 'b'\n[[listener]]\nname = 'front'\naddress = ':5'\nmux = ['a']\n[[listener]]\nname = 'a'\n",
	} {
		var b bytes.Buffer
		c := inForce(old, parse(text))
		if err := c.WriteTOML(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse("again.toml", b.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAMuxFindsListenersBeforeItsFirstClient: the first client has caused the start, and has named
// a listener already.
func TestAMuxFindsListenersBeforeItsFirstClient(t *testing.T) {
	cfg := muxFile(t, freeAddress(t), "a", "b")
	cfg.Listeners[1].Address = []string{freeAddress(t)}
	d, err := start(inheritance{}, loaded(cfg), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.srv.Serve(d.ports.all[0].Binding) }() // and no other
	for _, name := range []string{"a", "b"} {
		c := servertest.Dial(t, cfg.Listeners[0].Address[0], nil)
		c.Say(name + "\r\n")
		c.Hear("+Go\r\nhello " + name + "\r\n")
	}
	d.end(false)
	if err := servertest.Result(t, ended); !errors.Is(err, server.ErrServerClosed) {
		t.Error(err)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}
