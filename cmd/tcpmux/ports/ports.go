// Package ports opens the ports and unix sockets of tcpmux's socket units that systemd has not
// opened, because another program had the address when it tried, or because only "systemctl
// daemon-reload" followed a change of the configuration. It promises to close no port, and to cost
// no client its connection; and it says what is in the way while something is.
package ports

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/unixsocket"
)

// Pauses between two rounds.
const (
	minPause = time.Second
	maxPause = 15 * time.Second
)

// Open returns nil once every port that a socket unit of tcpmux should listen on is open. Until
// then it looks again and again. What is in the way is written to the file "faults" in dir, where
// the daemon finds it, a line for each address, and in case of a change to log.
func Open(ctx context.Context, dir string, log io.Writer) error {
	o := &opener{systemctl: systemctl, probe: probe, tries: make(map[string]*try)}
	told := ""
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		faults, err := o.round(time.Now())
		if err != nil {
			return err
		}
		text := strings.Join(faults, "")
		if text != told {
			fmt.Fprint(log, text)
			told, pause = text, minPause
		}
		if err := save(filepath.Join(dir, "faults"), text); err != nil || text == "" {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// save replaces a file.
func save(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// opener opens ports.
type opener struct {
	systemctl func(args ...string) (string, error)
	probe     func(address string) error
	tries     map[string]*try // by address
	stopped   []string        // units, by us, that are not started again
}

// try is when a port that is free was last to be opened. One that stays closed all the same is
// tried ever more rarely: a try restarts the daemon.
type try struct {
	pause time.Duration
	next  time.Time
}

const maxTry = time.Hour

// round opens the ports that can be opened, and returns a line for each of the others that says
// what is in the way.
func (o *opener) round(now time.Time) (faults []string, err error) {
	state, err := o.systemctl("show", "--value", "-p", "SubState", "tcpmux.service")
	if err != nil {
		return nil, err
	}
	state = strings.TrimSpace(state)
	// It waits for its next start with the states that have auto-restart in their names
	// (systemd 254 has several).
	idle := state == "dead" || state == "failed" || strings.Contains(state, "auto-restart")
	// Systemd opens no port meanwhile, and one that it closes would stay so.
	if !idle && state != "running" {
		return []string{"tcpmux.service is about to change its state: no port is opened meanwhile\n"}, nil
	}
	if o.stopped != nil {
		return o.start()
	}
	units, err := o.units()
	if err != nil {
		return nil, err
	}
	closed, missing, faults := o.survey(units, now)
	o.open(closed, missing, idle)
	return faults, nil
}

// survey looks at the ports of all units. It returns the units to be opened, those that have failed
// and those that are active and do not listen, and a line for each port that is not open.
func (o *opener) survey(units []unit, now time.Time) (closed, missing, faults []string) {
	for _, u := range units {
		if u.state != "active" && u.state != "failed" {
			continue // it is not enabled, or is being opened
		}
		for _, a := range u.listen {
			err := o.probe(a)
			switch {
			case err == nil && o.due(a, now):
				if u.state == "failed" {
					closed = append(closed, u.name)
				} else {
					missing = append(missing, u.name)
				}
				faults = append(faults, fmt.Sprintf("%s: %s and being opened\n", a, free(a)))
			case err == nil:
				faults = append(faults, fmt.Sprintf("%s: %s, and systemd does not open it: see systemctl status %s\n", a, free(a), u.name))
			case u.state == "failed":
				delete(o.tries, a)
				faults = append(faults, fmt.Sprintf("%s: %v\n", a, describe(err)))
			default:
				delete(o.tries, a) // it is ours
			}
		}
	}
	return slices.Compact(closed), slices.Compact(missing), faults
}

// open has systemd open units that survey has found. idle reports whether the service does not run.
// One kind is opened at a time: the next round finds the other.
func (o *opener) open(closed, missing []string, idle bool) {
	switch {
	case missing != nil && idle:
		// Nothing but these: a restart of the service in this state could end clients that
		// systemd has stored.
		o.restart(missing, "--job-mode=ignore-dependencies")
	case missing != nil:
		// Which restarts the daemon, and that keeps its clients.
		o.restart([]string{"tcpmux.socket"})
	case closed != nil && idle:
		// The next round shows what has become of it.
		_, _ = o.systemctl(append([]string{"start"}, closed...)...)
	case closed != nil:
		// systemd opens no port of a service that is at work. A restart of that starts its
		// sockets too, closes none, and keeps the clients.
		_, _ = o.systemctl("try-restart", "tcpmux.service") // as above
	}
}

// restart restarts units. Those that were only stopped are started in a later round.
func (o *opener) restart(units []string, options ...string) {
	if _, err := o.systemctl(slices.Concat(options, []string{"restart"}, units)...); err != nil {
		o.stopped = units
	}
}

// start starts what a restart has stopped.
func (o *opener) start() (faults []string, err error) {
	names := strings.Join(o.stopped, " ")
	if _, err := o.systemctl(append([]string{"start"}, o.stopped...)...); err != nil {
		return []string{fmt.Sprintf("%s: stopped: %v\n", names, err)}, nil
	}
	o.stopped = nil
	return []string{names + ": started again\n"}, nil
}

// due reports whether a port that is free is to be tried now.
func (o *opener) due(address string, now time.Time) bool {
	t := o.tries[address]
	if t == nil {
		t = &try{pause: minPause}
		o.tries[address] = t
	} else if now.Before(t.next) {
		return false
	}
	t.next = now.Add(t.pause)
	t.pause = min(4*t.pause, maxTry)
	return true
}

// describe returns the error of a port that cannot be opened, with the next step.
func describe(err error) string {
	if errors.Is(err, unix.EADDRINUSE) {
		return err.Error() + " (another program listens there: see ss -ltnp; it is tried again until the port is free)"
	}
	return err.Error()
}

// unit is a socket unit.
type unit struct {
	name, state string
	listen      []string // as the configuration has the addresses
}

// controlUnit is that of the control socket, which keeps no client waiting.
const controlUnit = config.ControlSocket + ".socket"

// units returns the socket units of tcpmux.
func (o *opener) units() ([]unit, error) {
	text, err := o.systemctl("show", "-p", "Id", "-p", "ActiveState", "-p", "Listen", "tcpmux.socket", "tcpmux-*.socket")
	if err != nil {
		return nil, err
	}
	var all []unit
	for block := range strings.SplitSeq(text, "\n\n") {
		u := parseUnit(block)
		seen := slices.ContainsFunc(all, func(other unit) bool { return other.name == u.name })
		if !seen && u.name != controlUnit {
			all = append(all, u)
		}
	}
	return all, nil
}

// parseUnit reads what "systemctl show" says about a unit. It omits sockets of which the daemon has
// none.
func parseUnit(text string) (u unit) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch key {
		case "Id":
			u.name = value
		case "ActiveState":
			u.state = value
		case "Listen":
			address, ok := strings.CutSuffix(value, " (Stream)")
			if filepath.IsAbs(address) {
				address = config.UnixScheme + address
			} else if _, err := netip.ParseAddrPort(address); err != nil {
				ok = false
			}
			if ok {
				u.listen = append(u.listen, address)
			}
		}
	}
	return u
}

// free says of an address with which probe returns nil what is the matter.
func free(address string) string {
	if config.UnixPath(address) != "" {
		return "the socket is missing"
	}
	return "the port is free"
}

// probe returns nil when a socket could be bound to an address, as systemd would.
func probe(address string) error {
	if path := config.UnixPath(address); path != "" {
		return probePath(path)
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return probePort(a)
}

// probePath is probe for a unix socket. What is no socket systemd would replace too: that is for
// people to decide on.
func probePath(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something is there that is no socket: remove it")
	}
	used, err := unixsocket.InUse(path)
	if used {
		return errors.New("another program listens there: see ss -lxp")
	}
	return err
}

// probePort is probe for TCP.
func probePort(a netip.AddrPort) error {
	family, sa := unix.AF_INET6, unix.Sockaddr(nil)
	if a.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	} else {
		sa = &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: zoneOf(a.Addr().Zone())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd) // it never listens
	options := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.IPPROTO_IP, unix.IP_FREEBIND}}
	if family == unix.AF_INET6 {
		options = append(options, [2]int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

// zoneOf returns the number of a network interface; 0 if it does not exist.
func zoneOf(name string) uint32 {
	if link, err := net.InterfaceByName(name); err == nil {
		return uint32(link.Index)
	}
	return 0
}

// systemctl runs systemctl(1), and returns its output.
func systemctl(args ...string) (string, error) {
	out, err := exec.Command("systemctl", args...).Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(e.Stderr)))
	}
	return string(out), err
}
