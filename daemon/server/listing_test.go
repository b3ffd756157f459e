package server_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/server"
	"tcpmux/daemon/servertest"
	"tcpmux/daemon/session"
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

// TestClientsComeAndGoWhileAReloadTellsOthers: to wake ten thousand sessions takes its time, and
// holds nothing that accept or the end of a session needs.
func TestClientsComeAndGoWhileAReloadTellsOthers(t *testing.T) {
	f := servertest.New(t, nil)
	told := &toldService{over: make(chan struct{})}
	f.Binding().Settings().Service = func(s *session.Session) (session.Service, error) {
		told.phase = s.Phase
		return told, nil
	}
	f.Open()
	f.Client()
	f.AwaitClients(1)
	servertest.Eventually(t, func() bool { f.Server.Refresh(); return told.times.Load() > 0 }, func() {
		t.Error("the service was not told")
	})
	free := make(chan int, 1)
	told.do = func() {
		go func() { free <- f.Server.Clients() }() // it takes the lock that accept takes
		select {
		case <-free:
		case <-time.After(servertest.Patience):
			t.Error("the server is locked while sessions are told")
		}
	}
	f.Server.Refresh()
	told.do = nil
}

// toldService serves nobody until the session is over, and does something when it is told of a
// change. Set do while nothing changes.
type toldService struct {
	phase func() session.Phase
	over  chan struct{}
	do    func()
	times atomic.Int32
	once  sync.Once
}

func (s *toldService) Serve() (session.Reason, error) {
	<-s.over
	return session.ByDrain, nil
}

func (s *toldService) Changed() {
	if s.times.Add(1); s.do != nil {
		s.do()
	}
	if s.phase() != session.Serving {
		s.once.Do(func() { close(s.over) })
	}
}
