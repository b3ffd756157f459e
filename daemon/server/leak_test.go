package server_test

import (
	"context"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/servertest"
)

// TestClientsLeaveNothingBehind: no descriptor, no goroutine, no place.
func TestClientsLeaveNothingBehind(t *testing.T) {
	f := servertest.New(t, nil).Open()
	f.LeavesNothing(100, func() *servertest.Client {
		c := f.Greeted()
		c.Say("hello\nhalf")
		return c
	})
}

// TestAnIdleClientHoldsNoBuffer: also after it has spoken, and in the middle of a message. There
// are fewer buffers than clients here, and Pause takes them all.
func TestAnIdleClientHoldsNoBuffer(t *testing.T) {
	const clients = 2 * 32 // twice what session.Buffers lends
	f := servertest.New(t, nil).Open()
	for range clients {
		f.Greeted().Say("hello\nhalf")
	}
	servertest.Eventually(t, func() bool { return f.Server.Records() == clients }, func() {
		t.Errorf("records: got %d, want %d", f.Server.Records(), clients)
	})
	ctx, cancel := context.WithTimeout(t.Context(), servertest.Patience)
	defer cancel()
	resume := f.Server.Pause(ctx)
	if resume == nil {
		t.Fatal("idle clients hold buffers, want them to hold none")
	}
	resume()
}

// TestClientBytesAreNeverInTheLog with everything that the daemon says, at level debug.
func TestClientBytesAreNeverInTheLog(t *testing.T) {
	const mark = "SECRET\x1b]0;x\x07"
	f := servertest.New(t, func(cfg *config.Config) { cfg.Listeners[0].MaxMessage = 16 }).Open()
	for _, end := range []func(*servertest.Client){
		func(c *servertest.Client) { _ = c.CloseWrite() },
		func(c *servertest.Client) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		c := f.Greeted()
		c.Say(mark + "\n\r\n level=ERROR msg=forged " + strings.Repeat(mark, 20) + "\n" + mark)
		end(c)
	}
	f.AwaitClients(0)
	servertest.Eventually(t, func() bool { return strings.Count(f.Log.String(), "session closed") == 2 }, func() {
		t.Errorf("log: got %s, want two sessions", f.Log)
	})
	for _, never := range []string{"SECRET", "\x1b", "forged"} {
		if strings.Contains(f.Log.String(), never) {
			t.Errorf("log: got %q, want no %q in it", f.Log, never)
		}
	}
}
