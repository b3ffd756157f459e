package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that ends at the first of the signals, with a signalError as its cause; at the second, again
// is called. A signal that whoever started us has told to ignore stays ignored (nohup, a shell's background job). stop ends
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

func watchSignals(caught <-chan os.Signal, stopped <-chan struct{}, cancel context.CancelCauseFunc, again func(os.Signal)) {
	select {
	case s := <-caught:
		cancel(signalError{s.(syscall.Signal)})
	case <-stopped:
		return
	}
	select {
	case s := <-caught:
		again(s)
	case <-stopped:
	}
}
