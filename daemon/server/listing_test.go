package server_test

import (
	"sync"
	"testing"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
)

// TestClientsComeAndGoWhileSessionsAreListed: a list of ten thousand takes its time, and holds
// nothing that accept or the end of a session needs.
func TestClientsComeAndGoWhileSessionsAreListed(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	var once sync.Once
	forget := server.OrderBy("hang", func() {
		once.Do(func() { close(begun) })
		<-finish
	})
	defer forget()
	f := servertest.New(t, nil).Open()
	first := f.Greeted()
	f.Greeted()
	listed := make(chan api.Sessions, 1)
	go func() { listed <- f.Server.Sessions(api.Filter{Sort: "hang"}) }()
	<-begun
	defer func() { // also when the test fails, so that the list ends before the key is forgotten
		close(finish)
		if got := <-listed; got.Total != 2 {
			t.Errorf("got %d sessions, want the 2 that were there", got.Total)
		}
	}()
	f.Greeted().Say("more\n")
	f.AwaitRecords("more")
	_ = first.CloseWrite()
	first.HearEnd()
	f.AwaitClients(2)
	if got := f.Server.Sessions(api.Filter{}); got.Total != 2 {
		t.Errorf("got %d sessions in another list, want 2", got.Total)
	}
}
