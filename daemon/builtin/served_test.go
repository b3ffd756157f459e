package builtin_test

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// serving returns a change of a configuration whose listener has a service.
func serving(service string, more func(*config.Listener)) func(*config.Config) {
	return func(c *config.Config) {
		l := &c.Listeners[0]
		l.Service, l.Record, l.Banner = service, false, config.Bytes{}
		if more != nil {
			more(l)
		}
	}
}

func recorded(l *config.Listener) { l.Record = true }

// models are those that a built-in service may have.
var models = []string{"goroutine", "thread"}

// TestServices over real connections, in all models, without a record.
func TestServices(t *testing.T) {
	for _, model := range models {
		for service, want := range map[string]string{
			config.ServiceEcho:    "over there",
			config.ServiceDiscard: "",
			config.ServiceDaytime: time.Now().UTC().Format("2006-01-02T"),
			config.ServiceTime:    "",
			config.ServiceChargen: ` !"#$%&'()*+,-./0123456789:;`,
		} {
			t.Run(model+" "+service, func(t *testing.T) {
				few := func(l *config.Listener) { l.Model, l.Limits.MaxSessionBytes = model, 100_000 }
				f := servertest.New(t, serving(service, few)).Open()
				c := f.Client()
				c.Say("over there")
				if service != config.ServiceChargen {
					_ = c.CloseWrite()
				}
				if got := c.HearEnd(); !strings.HasPrefix(got, want) || service == config.ServiceTime && len(got) != 4 {
					t.Errorf("got %.80q, want %q", got, want)
				}
				f.AwaitClients(0)
				if got := f.Out.String(); got != "" {
					t.Errorf("records: got %q, want none", got)
				}
			})
		}
	}
}

// TestWhatIsRecorded with record = true: what comes back is recorded by then.
func TestWhatIsRecorded(t *testing.T) {
	for _, model := range models {
		t.Run(model, func(t *testing.T) {
			f := servertest.New(t, serving(config.ServiceEcho, func(l *config.Listener) { l.Record, l.Model = true, model })).Open()
			c := f.Client()
			long := strings.Repeat("long ", 40_000) + "\n" // it leaves the kernel before its end
			for _, text := range []string{"one\n", "two\nthree\n", long} {
				c.Say(text)
				c.Hear(text)
				for line := range strings.Lines(text) {
					if got := f.Out.String(); !strings.Contains(got, ": "+strings.TrimSuffix(line, "\n")[:min(len(line)-1, 1000)]) {
						t.Errorf("got no record of %.20q", line)
					}
				}
			}
			c.Say("half")
			_ = c.CloseWrite()
			if got := c.HearEnd(); got != "half" {
				t.Errorf("got %q, want the rest", got)
			}
			f.AwaitRecords("open from "+c.Addr(), "[eof]: half\n", "close from "+c.Addr()+": eof")
		})
	}
	for service, want := range map[string]string{config.ServiceDiscard: ": x\n", config.ServiceTime: ": done, 0 records", config.ServiceDaytime: ": done, 0 records"} {
		t.Run(service, func(t *testing.T) {
			f := servertest.New(t, serving(service, recorded)).Open()
			c := f.Client()
			c.Say("x\n")
			_ = c.CloseWrite()
			c.HearEnd()
			f.AwaitRecords("open from "+c.Addr(), want, "close from "+c.Addr())
		})
	}
}

// TestAFailingDiskStopsTheEcho: nothing comes back that is not recorded.
func TestAFailingDiskStopsTheEcho(t *testing.T) {
	f := servertest.New(t, serving(config.ServiceEcho, recorded)).Open()
	c := f.Client()
	c.Say("before\n")
	c.Hear("before\n")
	f.Out.Fail(io.ErrShortWrite)
	c.Say("meanwhile\n")
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 {
		t.Errorf("got %d bytes, %v, want none", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(servertest.Patience))
	f.Out.Fail(nil)
	c.Hear("meanwhile\n")
}

// TestSlowReaders get all in the end, whether that is recorded or not, and are read no further
// meanwhile.
func TestSlowReaders(t *testing.T) {
	for _, record := range []bool{false, true} {
		for _, model := range models {
			t.Run(fmt.Sprint(model, record), func(t *testing.T) {
				f := servertest.New(t, serving(config.ServiceEcho, func(l *config.Listener) {
					l.Record, l.Model, l.Framing = record, model, "chunk"
					l.Limits.MaxSessionBytes = 1 << 30
				})).Open()
				c := f.Deaf()
				want := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
				sent := make(chan error, 1)
				go func() {
					_, err := c.Write(want)
					_ = c.CloseWrite()
					sent <- err
				}()
				got := make([]byte, 0, len(want))
				for {
					n, err := c.Read(got[len(got):min(cap(got), len(got)+10_000)])
					got = got[:len(got)+n]
					if err != nil || n == 0 {
						break
					}
				}
				if err := <-sent; err != nil || !bytes.Equal(got, want) {
					t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
				}
			})
		}
	}
}

// TestSocatJoinsTwoEchoPorts, and that ends by itself.
func TestSocatJoinsTwoEchoPorts(t *testing.T) {
	socat, err := exec.LookPath("socat")
	if err != nil {
		t.Fatal("no socat: apt-get install socat")
	}
	few := func(l *config.Listener) { l.Limits.MaxSessionBytes = 10_000 }
	a, b := servertest.New(t, serving(config.ServiceEcho, few)).Open(), servertest.New(t, serving(config.ServiceEcho, func(l *config.Listener) {
		few(l)
		l.Banner = config.Text("hello\n") // what goes round
	})).Open()
	cmd := exec.CommandContext(t.Context(), socat, "-t1", "TCP:"+a.Addr().String(), "TCP:"+b.Addr().String())
	out, err := cmd.CombinedOutput()
	t.Logf("socat: %v %s", err, out)
	a.AwaitClients(0)
	b.AwaitClients(0)
	if got := a.Log.String() + b.Log.String(); !strings.Contains(got, "reason=volume") {
		t.Errorf("log: got %s, want a session that has ended by its volume", got)
	}
}

// TestServicesInTLS: a client gets all that it has sent.
func TestServicesInTLS(t *testing.T) {
	for _, record := range []bool{false, true} {
		t.Run(fmt.Sprintf("record %v", record), func(t *testing.T) {
			secured := servertest.NewTLS(t)
			f := servertest.New(t, serving(config.ServiceEcho, func(l *config.Listener) { l.Record, l.Framing = record, "chunk" }), secured.Option).Open()
			c := secured.Over(f.Deaf())
			want := bytes.Repeat([]byte("0123456789abcdef"), 60_000)
			go func() {
				_, _ = c.Write(want)
				_ = c.CloseWrite()
			}()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
			}
			f.AwaitClients(0)
		})
	}
}
