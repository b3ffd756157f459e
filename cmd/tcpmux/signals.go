package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that ends at the first of the signals, with a signalError as its cause. A signal that whoever
// started us has told to ignore stays ignored (nohup, a shell's background job). stop ends the watching.
func untilSignal(ctx context.Context, signals ...os.Signal) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	caught := make(chan os.Signal, 1)
	for _, s := range signals {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	go cancelOn(ctx, cancel, caught)
	return ctx, func() {
		signal.Stop(caught)
		cancel(nil)
	}
}

func cancelOn(ctx context.Context, cancel context.CancelCauseFunc, caught <-chan os.Signal) {
	select {
	case s := <-caught:
		cancel(signalError{s.(syscall.Signal)})
	case <-ctx.Done():
	}
}
