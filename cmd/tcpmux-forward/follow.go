package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/forward"
	"tcpmux/cmd/tcpmux-forward/observe"
	"tcpmux/config"
	"tcpmux/daemon/logging"
	"tcpmux/daemon/systemd"
)

// statusEvery is how often the service manager is told the status, if it has changed.
const statusEvery = 5 * time.Second

// service delivers for ever.
type service struct {
	load     func() (config.Config, error)
	log      *logging.Log
	forward  *forward.Forwarder
	status   func() api.Status // of forward; it looks at files, which can take any time
	observe  *observe.Server
	told     string // the last status that the service manager has
	untold   bool   // the service manager could not be told
	reloads  chan os.Signal
	finished chan error // the result of Run
}

// follow delivers until a signal ends it.
func follow(cmd *cobra.Command, path string, stderr io.Writer) error {
	impatient := func(s syscall.Signal) {
		fmt.Fprintf(stderr, "tcpmux-forward: second signal (%v): what is in flight is not waited for\n", s)
		os.Exit(cli.StatusFailed)
	}
	ctx, stop := cli.UntilSignal(cmd.Context(), cli.Ended, impatient, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s := &service{
		load:     func() (config.Config, error) { return loadOn(cmd, path) },
		reloads:  make(chan os.Signal, 1),
		finished: make(chan error, 1),
	}
	signal.Notify(s.reloads, syscall.SIGHUP)
	defer signal.Stop(s.reloads)
	cfg, err := s.load()
	if err != nil {
		return err
	}
	if s.log, err = openLog(cfg.Log.Level, stderr); err != nil {
		return err
	}
	s.warn(cfg)
	if s.forward, err = forward.New(forward.Options{Config: cfg, Log: s.log.Logger, Version: cli.Version()}); err != nil {
		return err
	}
	s.status = s.forward.Status
	s.observe = observe.Start(s.forward, s.log.Logger, observe.SocketPath(cfg.Forward.State), cfg.Forward.Address)
	go func() { s.finished <- s.forward.Run(ctx) }()
	s.notify("READY=1")
	err = s.attend(ctx)
	s.observe.Close()
	return errors.Join(err, s.forward.Close())
}

// attend obeys signals until the delivery ends, and returns its error. A file system that hangs
// does not keep it from that.
func (s *service) attend(ctx context.Context) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	due, found := tick.C, make(chan api.Status, 1)
	done := ctx.Done()
	for {
		select {
		case <-s.reloads:
			s.notify("RELOADING=1", systemd.MonotonicUsec())
			s.reload()
			s.notify("READY=1")
		case <-due:
			due = nil // one at a time
			go func() { found <- s.status() }()
		case status := <-found:
			due = tick.C
			if line := statusLine(status); line != s.told {
				s.told = line
				s.notify("STATUS=" + line)
			}
		case <-done:
			done = nil
			s.notify("STOPPING=1")
		case err := <-s.finished:
			return err
		}
	}
}

// reload puts the configuration in its file in force, or logs why it cannot be.
func (s *service) reload() {
	cfg, err := s.load()
	var faults config.Faults
	switch {
	case errors.As(err, &faults):
		for _, f := range faults {
			s.log.Error("configuration not reloaded", "err", f)
		}
		return
	case err != nil:
		s.log.Error("configuration not reloaded", "err", err)
		return
	}
	if err := s.forward.Reload(cfg); err != nil {
		s.log.Error("configuration not reloaded", "err", err)
		return
	}
	if err := s.log.Reopen(logging.Options{Level: cfg.Log.Level}); err != nil {
		s.log.Error("log level not changed", "err", err)
	}
	s.observe.Listen(cfg.Forward.Address)
	s.log.Info("configuration reloaded")
	s.warn(cfg)
}

// warn logs the warnings about a configuration.
func (s *service) warn(cfg config.Config) {
	for _, w := range cfg.Warnings {
		s.log.Warn("configuration", "warning", w)
	}
}

// notify tells the service manager. If it cannot be reached, that is logged once.
func (s *service) notify(state ...string) {
	err := systemd.Notify(state...)
	if err != nil && !s.untold {
		s.log.Warn("service manager cannot be told", "err", err)
	}
	s.untold = err != nil
}

// statusLine returns a status in one line, for systemctl status.
func statusLine(s api.Status) string {
	line := s.State
	if s.Server != "" {
		line += " to " + s.Server
	}
	line += fmt.Sprintf("; %s, lag %s", text.Number(s.Records, "record"), text.Size(s.Lag.Bytes))
	if s.Error != "" {
		line += "; " + s.Error
	}
	return text.Prose(line)
}
