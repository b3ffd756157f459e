package conn

import (
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkReady is what the kernel needs to tell the poller of a socket that has become readable:
// ns/event, as many of them a call as the poller takes, with the lock of the one epoll instance held.
func BenchmarkReady(b *testing.B) {
	const n = 2000
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(ep)
	var pairs [n][2]int
	for i := range pairs {
		if pairs[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			b.Fatal(err)
		}
		defer unix.Close(pairs[i][0])
		defer unix.Close(pairs[i][1])
		e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET}
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, pairs[i][0], &e); err != nil {
			b.Fatal(err)
		}
	}
	events := make([]unix.EpollEvent, 128)
	wait := func() (all int) {
		for {
			got, err := unix.EpollWait(ep, events, 0)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				b.Fatal(err)
			}
			if got == 0 {
				return all
			}
			all += got
		}
	}
	wait()
	text, told := []byte("x"), 0
	for b.Loop() {
		b.StopTimer()
		for i := range pairs {
			_, _ = unix.Write(pairs[i][1], text)
		}
		b.StartTimer()
		told += wait()
		b.StopTimer()
		for i := range pairs {
			_, _ = unix.Read(pairs[i][0], text)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(told), "ns/event")
}

// BenchmarkWake is what it takes to have a goroutine go on that sleeps, and to have it sleep again.
func BenchmarkWake(b *testing.B) {
	var here, there side
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range b.N {
			there.sleep()
			there.rearm()
			here.wake()
		}
	}()
	b.ResetTimer()
	for range b.N {
		there.wake()
		here.sleep()
		here.rearm()
	}
	<-ended
}
