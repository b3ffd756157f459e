package program_test

import (
	"bytes"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// eachRecord runs a test for programs whose clients are recorded, and for those whose are not.
func eachRecord(t *testing.T, test func(t *testing.T, change func(*config.Config))) {
	t.Run("not recorded", func(t *testing.T) { test(t, nil) })
	t.Run("recorded", func(t *testing.T) { test(t, recorded) })
}

// TestProgramTalksToAClientThatSpeaksTLS as to any other: all bytes arrive both ways, and the ends.
func TestProgramTalksToAClientThatSpeaksTLS(t *testing.T) {
	eachRecord(t, func(t *testing.T, change func(*config.Config)) {
		secure := servertest.NewTLS(t)
		f := servertest.New(t, and(shell("cat; echo end"), change, func(c *config.Config) {
			c.Listeners[0].Banner = config.Text("{server}\r\n")
		}), secure.Option).Open()
		c := secure.Client(f)
		c.Hear(f.Addr().String() + "\r\n")
		c.Say("hello\n")
		c.Hear("hello\n")
		want := bytes.Repeat([]byte(strings.Repeat("0123456789abcdef", 512)+"\n"), 128)
		go func() {
			_, _ = c.Write(want)
			_ = c.CloseWrite()
		}()
		if got := c.HearEnd(); got != string(want)+"end\n" {
			t.Errorf("heard %d bytes, want the %d that were sent, and the end", len(got), len(want))
		}
		end := "exit 0, 0 records, 0 bytes"
		if change != nil {
			end = fmt.Sprintf("exit 0, 129 records, %d bytes", len(want)+6)
		}
		f.AwaitRecords("open from "+c.Addr(), "close from "+c.Addr()+": "+end)
	})
}

// TestProgramKnowsItsClientsTLS. What is hostile in it is escaped.
func TestProgramKnowsItsClientsTLS(t *testing.T) {
	eachRecord(t, func(t *testing.T, change func(*config.Config)) {
		secure := servertest.NewTLS(t)
		f := servertest.New(t, and(shell("env | sort"), change), secure.Option).Open()
		hostile := secure.Certificate(pkix.Name{CommonName: "scale,1\x00\nSSL_CLIENT_VERIFY=no", Organization: []string{"Example"}})
		for _, c := range []struct {
			name   string
			client *servertest.TLSClient
			want   []string
		}{
			{"no certificate", secure.Client(f), []string{"SSL_CLIENT_VERIFY=NONE"}},
			{"a certificate", secure.Client(f, hostile), []string{
				`SSL_CLIENT_S_DN=CN=scale\,1\00\0ASSL_CLIENT_VERIFY=no,O=Example`,
				"SSL_CLIENT_VERIFY=SUCCESS",
			}},
		} {
			t.Run(c.name, func(t *testing.T) {
				var got []string
				for line := range strings.Lines(c.client.HearEnd()) {
					if strings.HasPrefix(line, "SSL_") {
						got = append(got, strings.TrimSuffix(line, "\n"))
					}
				}
				want := append([]string{"SSL_CIPHER=TLS_AES_128_GCM_SHA256"}, c.want...)
				want = append(want, "SSL_PROTOCOL=TLSv1.3", "SSL_TLS_SNI=localhost")
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		}
	})
}

// TestProgramsLastWordsReachAClientThatSpeaksTLS, which takes its time.
func TestProgramsLastWordsReachAClientThatSpeaksTLS(t *testing.T) {
	eachRecord(t, func(t *testing.T, change func(*config.Config)) {
		const size = 8 << 20 // more than the kernel holds
		secure := servertest.NewTLS(t)
		f := servertest.New(t, and(shell(fmt.Sprintf("head -c %d /dev/zero; echo done >&2", size)), change), secure.Option).Open()
		c := secure.Over(f.Deaf())
		got := make([]byte, size)
		half, err := c.Read(got)
		if err != nil {
			t.Fatal(err)
		}
		if n := half + len(c.HearEnd()); n != size {
			t.Errorf("heard %d bytes, want %d", n, size)
		}
		awaitClose(f, c.Raw, "exit 0")
		f.Log.Await(t, "line=done")
	})
}

// TestProgramsClientThatTakesNothing keeps neither the program from its limits nor the daemon from
// its end.
func TestProgramsClientThatTakesNothing(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		change       func(*config.Config)
		end          func(f *servertest.Fixture)
	}{
		{"exec_timeout", "timeout", func(c *config.Config) { c.Listeners[0].ExecTimeout = 50 * time.Millisecond }, nil},
		{"the daemon's end", "drain", nil, func(f *servertest.Fixture) { _ = f.Server.Shutdown(servertest.Done()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachRecord(t, func(t *testing.T, change func(*config.Config)) {
				secure := servertest.NewTLS(t)
				f := servertest.New(t, and(shell("echo here >&2; cat /dev/zero"), c.change, change), secure.Option,
					servertest.StopGrace(shortGrace)).Open()
				k := secure.Over(f.Deaf())
				f.Log.Await(t, "line=here")
				if c.end != nil {
					c.end(f)
				}
				awaitClose(f, k.Raw, c.reason)
				f.AwaitClients(0)
			})
		})
	}
}

// TestProgramOfAClientThatSpeaksTLSIsStopped, and what it says then arrives.
func TestProgramOfAClientThatSpeaksTLSIsStopped(t *testing.T) {
	eachRecord(t, func(t *testing.T, change func(*config.Config)) {
		secure := servertest.NewTLS(t)
		f := servertest.New(t, and(shell("trap 'echo bye; exit' TERM; echo here; sleep 1000 & wait"), change), secure.Option).Open()
		c := secure.Client(f)
		c.Hear("here\n")
		if err := f.Server.Shutdown(servertest.Done()); err == nil {
			t.Error("got nil, want how many clients did not finish")
		}
		if got := c.HearEnd(); got != "bye\n" {
			t.Errorf("heard %q, want its farewell", got)
		}
		awaitClose(f, c.Raw, "drain")
	})
}

// TestProgramThatDrainsServesTLSOn until it is done.
func TestProgramThatDrainsServesTLSOn(t *testing.T) {
	eachRecord(t, func(t *testing.T, change func(*config.Config)) {
		secure := servertest.NewTLS(t)
		f := servertest.New(t, and(running("/bin/cat"), change), secure.Option).Open()
		c := secure.Client(f)
		c.Say("before\n")
		c.Hear("before\n")
		ended := f.Shutdown(t.Context())
		c.Say("after\n")
		c.Hear("after\n")
		_ = c.CloseWrite()
		c.HearEnd()
		if err := servertest.Result(t, ended); err != nil {
			t.Error(err)
		}
		awaitClose(f, c.Raw, "exit 0")
	})
}

// TestProgramOfAClientThatBreaksOff finds the end of its input.
func TestProgramOfAClientThatBreaksOff(t *testing.T) {
	eachRecord(t, func(t *testing.T, change func(*config.Config)) {
		secure := servertest.NewTLS(t)
		f := servertest.New(t, and(shell("cat; echo $? >&2; exit 3"), change), secure.Option).Open()
		c := secure.Client(f)
		c.Say("hello\n")
		c.Hear("hello\n")
		c.Raw.Reset()
		awaitClose(f, c.Raw, "exit 3")
		f.Log.Await(t, "line=0")
	})
}

// TestEscapedProcessKeepsNoTLSClient: it holds the program's end of the pair, and nothing of the
// daemon.
func TestEscapedProcessKeepsNoTLSClient(t *testing.T) {
	secure := servertest.NewTLS(t)
	f := servertest.New(t, shell(`setsid sh -c 'echo $$; exec cat' <&0 & read line; exit 5`), secure.Option).Open()
	c := secure.Client(f)
	pid := make([]byte, 16)
	n, err := c.Read(pid)
	if err != nil {
		t.Fatal(err)
	}
	c.Say("go\n")
	c.HearEnd()
	awaitClose(f, c.Raw, "exit 5")
	awaitGone(t, string(pid[:n]))
}

// TestProgramThatCannotStartLeavesNoPump.
func TestProgramThatCannotStartForTLS(t *testing.T) {
	eachRecord(t, func(t *testing.T, change func(*config.Config)) {
		secure := servertest.NewTLS(t)
		f := servertest.New(t, and(running(t.TempDir()+"/gone"), change), secure.Option).Open()
		c := secure.Client(f)
		c.HearEnd()
		awaitClose(f, c.Raw, "exec")
	})
}

func TestProgramsOfTLSClientsLeaveNothingBehind(t *testing.T) {
	eachRecord(t, func(t *testing.T, change func(*config.Config)) {
		const clients = 50
		secure := servertest.NewTLS(t)
		f := servertest.New(t, and(running("/bin/cat"), change, func(c *config.Config) { c.Limits.Clients = 4 * clients }), secure.Option).Open()
		f.LeavesNothing(clients, func() *servertest.Client {
			c := secure.Client(f)
			c.Say("hello\n")
			c.Hear("hello\n")
			return c.Raw
		})
	})
}
