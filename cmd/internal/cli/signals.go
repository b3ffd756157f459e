package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// UntilSignal returns a context that the first of the signals cancels, with the cause that first
// returns for it. It calls again for the second request: the same signal within a tenth of a second
// is still the first. A signal that was ignored when the process started stays ignored (nohup,
// background jobs). stop cancels the context and ends the watching.
func UntilSignal(ctx context.Context, first func(SignalError) error, again func(syscall.Signal), signals ...os.Signal) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	caught, stopped := make(chan os.Signal, 2), make(chan struct{})
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	go func() {
		watchSignals(caught, stopped, func(s syscall.Signal) { cancel(first(SignalError{s})) }, again)
	}()
	return ctx, func() {
		signal.Stop(caught)
		close(stopped)
		cancel(nil)
	}
}

// sameRequest is how soon the same signal comes again when it is no second request: timeout(1)
// signals its child, and then the process group of both.
const sameRequest = 100 * time.Millisecond

// watchSignals calls first for the first signal and again for the second request.
func watchSignals(caught <-chan os.Signal, stopped <-chan struct{}, first, again func(syscall.Signal)) {
	var one os.Signal
	select {
	case one = <-caught:
		first(one.(syscall.Signal))
	case <-stopped:
		return
	}
	for began := time.Now(); ; {
		select {
		case s := <-caught:
			if s == one && time.Since(began) < sameRequest {
				continue
			}
			again(s.(syscall.Signal))
		case <-stopped:
		}
		return
	}
}

// Ended is the first of UntilSignal for a program that a signal simply ends.
func Ended(s SignalError) error { return s }

// endGrace is how long a tool has to end in order after a signal. It needs less unless nobody takes
// what it writes.
const endGrace = time.Second

// UntilInterrupted is UntilSignal for a tool, which ends at the first SIGINT, SIGTERM or SIGHUP.
// The process exits at the second one, or when the tool has not ended by itself a second after the
// first.
func UntilInterrupted(ctx context.Context) (_ context.Context, stop func()) {
	exit := func(s syscall.Signal) { os.Exit(SignalError{s}.Status()) }
	ctx, stopSignals := UntilSignal(ctx, Ended, exit, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	stopped := make(chan struct{})
	go func() {
		<-ctx.Done()
		select {
		case <-time.After(endGrace):
			if s, ok := errors.AsType[SignalError](context.Cause(ctx)); ok {
				exit(s.Signal)
			}
		case <-stopped:
		}
	}()
	return ctx, func() {
		close(stopped)
		stopSignals()
	}
}

// Interruption returns the SignalError that cancelled ctx, nil when no signal did.
func Interruption(ctx context.Context) error {
	if sig, ok := errors.AsType[SignalError](context.Cause(ctx)); ok {
		return sig
	}
	return nil
}
