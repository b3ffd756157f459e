package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// UntilSignal returns a context that the first of the signals cancels, with a SignalError as its cause. It calls again for the
// second one. A signal that was ignored when the process started stays ignored (nohup, background jobs). stop cancels the
// context and ends the watching.
func UntilSignal(ctx context.Context, again func(os.Signal), signals ...os.Signal) (_ context.Context, stop func()) {
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

// UntilInterrupted is UntilSignal for a tool that ends within moments of the first SIGINT, SIGTERM or SIGHUP.
func UntilInterrupted(ctx context.Context) (_ context.Context, stop func()) {
	return UntilSignal(ctx, func(os.Signal) {}, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// Interruption returns the SignalError that cancelled ctx, nil when no signal did.
func Interruption(ctx context.Context) error {
	if sig, ok := errors.AsType[SignalError](context.Cause(ctx)); ok {
		return sig
	}
	return nil
}

func watchSignals(caught <-chan os.Signal, stopped <-chan struct{}, cancel context.CancelCauseFunc, again func(os.Signal)) {
	select {
	case s := <-caught:
		cancel(SignalError{s.(syscall.Signal)})
	case <-stopped:
		return
	}
	select {
	case s := <-caught:
		again(s)
	case <-stopped:
	}
}
