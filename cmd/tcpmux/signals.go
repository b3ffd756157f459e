package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tcpmux/daemon"
)

// untilSignal returns a context that ends at the first of the signals, with a signalError as its cause; at the second, again
// is called, unless the second is the first once more (sameRequest). A signal that whoever started us has told to ignore stays ignored (nohup, a shell's background job). stop ends
// the context and the watching.
func untilSignal(ctx context.Context, again func(os.Signal), signals ...os.Signal) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	caught, stopped := make(chan os.Signal, 2), make(chan struct{})
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	go watchSignals(caught, stopped, cancel, again)
	return ctx, func() {
		signal.Stop(caught)
		close(stopped)
		cancel(nil)
	}
}

// endGrace is how long a tool has to end in order after a signal. It needs less unless nobody takes what it writes.
const endGrace = time.Second

// untilEndSignal is untilSignal for a tool, which ends at the first of SIGINT, SIGTERM and SIGHUP: the process exits if it has not
// come to its end by itself soon, or at the second.
func untilEndSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, stopSignals := untilSignal(ctx, exitBy, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	stopped := make(chan struct{})
	go func() {
		<-ctx.Done()
		select {
		case <-time.After(endGrace):
			if s, ok := errors.AsType[signalError](context.Cause(ctx)); ok {
				exitBy(s.Signal)
			}
		case <-stopped:
		}
	}()
	return ctx, func() {
		close(stopped)
		stopSignals()
	}
}

// exitBy ends the process as report would after that signal.
func exitBy(s os.Signal) { os.Exit(statusSignal + int(s.(syscall.Signal))) }

// sameRequest is how soon the same signal comes again when it is not a second request: timeout(1) signals its child, and then the
// process group of both.
const sameRequest = 100 * time.Millisecond

func watchSignals(caught <-chan os.Signal, stopped <-chan struct{}, cancel context.CancelCauseFunc, again func(os.Signal)) {
	var first os.Signal
	select {
	case first = <-caught:
		cancel(signalError{first.(syscall.Signal)})
	case <-stopped:
		return
	}
	for began := time.Now(); ; {
		select {
		case s := <-caught:
			if s == first && time.Since(began) < sameRequest {
				continue
			}
			again(s)
		case <-stopped:
		}
		return
	}
}

// onSignals turns each SIGHUP into a reload, each SIGUSR1 into a reopening and each SIGUSR2 into an upgrade, until end is called.
func onSignals(reload daemon.Reload, upgrade daemon.Upgrade) (wishes daemon.Wishes, end func()) {
	stopped := make(chan struct{})
	return daemon.Wishes{
		Reload:  onSignal(syscall.SIGHUP, reload, stopped),
		Reopen:  onSignal(syscall.SIGUSR1, struct{}{}, stopped),
		Upgrade: onSignal(syscall.SIGUSR2, upgrade, stopped),
	}, func() { close(stopped) }
}

// onSignal returns a channel that has the wish for each signal of the kind. Those that come while one is under way are one.
func onSignal[W any](kind os.Signal, wish W, stopped <-chan struct{}) <-chan W {
	signals, wishes := make(chan os.Signal, 1), make(chan W)
	signal.Notify(signals, kind)
	go pass(signals, wishes, wish, stopped)
	return wishes
}

// pass sends the wish on for each signal.
func pass[W any](signals chan os.Signal, to chan<- W, wish W, stopped <-chan struct{}) {
	defer signal.Stop(signals)
	for {
		select {
		case <-signals:
		case <-stopped:
			return
		}
		select {
		case to <- wish:
		case <-stopped:
			return
		}
	}
}
