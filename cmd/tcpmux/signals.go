package main

import (
	"os"
	"os/signal"
	"syscall"

	"tcpmux/daemon"
)

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
