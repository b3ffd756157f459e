package main

import (
	"os"
	"os/signal"
	"syscall"

	"tcpmux/daemon"
	"tcpmux/daemon/handover"
)

// onSignals makes a reload of each SIGHUP, a reopening of each SIGUSR1, and an upgrade of each
// SIGUSR2, until end is called.
func onSignals(reload daemon.Reload, upgrade handover.Program) (requests daemon.Requests, end func()) {
	stopped := make(chan struct{})
	return daemon.Requests{
		Reload:  onSignal(syscall.SIGHUP, reload, stopped),
		Reopen:  onSignal(syscall.SIGUSR1, struct{}{}, stopped),
		Upgrade: onSignal(syscall.SIGUSR2, upgrade, stopped),
	}, func() { close(stopped) }
}

// onSignal returns a channel that carries the request for each signal of a kind. Signals that come
// while one waits are one.
func onSignal[R any](kind os.Signal, request R, stopped <-chan struct{}) <-chan R {
	signals, requests := make(chan os.Signal, 1), make(chan R)
	signal.Notify(signals, kind)
	go forward(signals, requests, request, stopped)
	return requests
}

// forward sends the request for each signal.
func forward[R any](signals chan os.Signal, to chan<- R, request R, stopped <-chan struct{}) {
	defer signal.Stop(signals)
	for {
		select {
		case <-signals:
		case <-stopped:
			return
		}
		select {
		case to <- request:
		case <-stopped:
			return
		}
	}
}
