package cli

import (
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestASignalThatComesTwiceIsOne, at once, as timeout(1) sends it; later, or another, it is a
// second one.
func TestASignalThatComesTwiceIsOne(t *testing.T) {
	type sent struct {
		after  time.Duration
		signal os.Signal
	}
	for _, c := range []struct {
		name string
		sent []sent
		want []os.Signal // that again is called for
	}{
		{"one", []sent{{0, syscall.SIGTERM}}, nil},
		{"twice at once", []sent{{0, syscall.SIGTERM}, {0, syscall.SIGTERM}}, nil},
		{"three times at once", []sent{{0, syscall.SIGTERM}, {0, syscall.SIGTERM}, {sameRequest / 2, syscall.SIGTERM}}, nil},
		{"twice", []sent{{0, syscall.SIGTERM}, {sameRequest, syscall.SIGTERM}}, []os.Signal{syscall.SIGTERM}},
		{"twice at once and again", []sent{{0, syscall.SIGTERM}, {0, syscall.SIGTERM}, {sameRequest, syscall.SIGTERM}}, []os.Signal{syscall.SIGTERM}},
		{"another one", []sent{{0, syscall.SIGTERM}, {0, syscall.SIGINT}}, []os.Signal{syscall.SIGINT}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				caught, stopped := make(chan os.Signal), make(chan struct{})
				first := 0
				var got []os.Signal
				go watchSignals(caught, stopped, func(syscall.Signal) { first++ }, func(s syscall.Signal) { got = append(got, s) })
				for _, s := range c.sent {
					time.Sleep(s.after)
					caught <- s.signal
					synctest.Wait()
				}
				close(stopped)
				synctest.Wait()
				if first != 1 {
					t.Errorf("first signals: got %d, want 1", first)
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("second signals: got %v, want %v", got, c.want)
				}
			})
		})
	}
}
