package generator

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"

	"tcpmux/config"
)

// Unit is a file for systemd: a unit or a drop-in of one.
type Unit struct {
	Path string // below the directory of generated units
	Text string
}

const (
	mainSocket = "tcpmux.socket"
	service    = "tcpmux.service"
	// Before "override.conf", which "systemctl edit" makes: the administrator has the last
	// word.
	dropIn = "50-tcpmux.conf"
)

// Units returns the drop-in of tcpmux.socket for the first listener and, for each further one and
// for the status page, a socket unit that comes and goes with tcpmux.socket. The first is the main
// listener, or, where address = [] leaves that out, the first [[listener]]: a socket unit without
// an address would be none. The error joins all that systemd cannot be told and is
// config.ErrInvalid; there are then no units.
func Units(cfg config.Config, ipv6 bool) ([]Unit, error) {
	var ports []port
	var errs []error
	for _, l := range cfg.Listeners {
		if len(l.Address) == 0 && len(l.MuxedBy) > 0 { // it has no socket of its own
			continue
		}
		p, err := newPort(l, ipv6)
		ports = append(ports, p)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &refusal{err}
	}
	if len(ports) == 0 {
		return nil, nil
	}
	if len(cfg.Status.Address) > 0 {
		p, err := statusPort(cfg, ipv6)
		if err != nil {
			return nil, &refusal{err}
		}
		ports = append(ports, p)
	}
	var units []Unit
	var names []string
	for _, p := range ports[1:] {
		units = append(units, Unit{p.unit(), head(p.source) + p.listenerUnit(last(names))})
		names = append(names, p.unit())
	}
	if text := serviceDropIn(names, Network(cfg)+users(cfg)); text != "" {
		units = append(units, Unit{NetworkDropIn, head(cfg.Path) + text})
	}
	return append(units, Unit{mainSocket + ".d/" + dropIn, head(cfg.Path) + ports[0].mainDropIn(names)}), nil
}

// refusal is a configuration that can be served and not be told to systemd.
type refusal struct{ error }

// Is makes a refusal a config.ErrInvalid.
func (r *refusal) Is(target error) bool { return target == config.ErrInvalid }

// maxOrdered bounds how many units one is ordered after, or thousands of listeners would make files
// of gigabytes.
const maxOrdered = 200

func last(names []string) []string { return names[max(0, len(names)-maxOrdered):] }

func head(path string) string {
	return fmt.Sprintf("# Made from %q by tcpmux-generator(8), at boot and at every \"systemctl daemon-reload\".\n\n", path)
}

// mainDropIn is for tcpmux.socket, which takes the others with it when it starts. Wants= rather
// than Requires=: a port that cannot be had (in use) must not take the others from the network; the
// next client has systemd try again.
func (p port) mainDropIn(others []string) string {
	var b strings.Builder
	b.WriteString("[Unit]\n" + sourcePath(p.source))
	for _, name := range others {
		fmt.Fprintf(&b, "Wants=%s\n", name)
	}
	b.WriteString(after(last(others)))
	b.WriteString("\n[Socket]\n# What the shipped unit listens on goes.\nListenStream=\n")
	b.WriteString(p.settings())
	return b.String()
}

// listenerUnit is the socket unit of a [[listener]]. PartOf= stops and restarts it with
// tcpmux.socket.
func (p port) listenerUnit(previous []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[Unit]\nDescription=tcpmux %s\nDocumentation=%s\n", p.what(), p.manual())
	b.WriteString(sourcePath(p.source))
	fmt.Fprintf(&b, "PartOf=%s\n%sStartLimitIntervalSec=0\n", mainSocket, after(previous))
	b.WriteString("# A port that another program has is opened once it is free.\nOnFailure=tcpmux-ports.service\n")
	fmt.Fprintf(&b, "\n[Socket]\nService=%s\n%sTriggerLimitIntervalSec=0\n", service, p.settings())
	return b.String()
}

// serviceDropIn has a daemon that is started by hand receive all sockets too, and the sandbox leave
// what it needs. It is empty if there is nothing to say.
func serviceDropIn(names []string, sandbox string) string {
	if len(names) == 0 && sandbox == "" {
		return ""
	}
	text := "[Service]\n"
	for _, name := range names {
		text += "Sockets=" + name + "\n"
	}
	return text + sandbox
}

// after has a restart of all close every port before it opens one: two listeners may have exchanged
// theirs.
func after(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "After=" + strings.Join(names, " ") + "\n"
}

var plainPath = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^/[a-zA-Z0-9/._-]+$`) })

// sourcePath has systemctl say that a daemon-reload is due once the file has been changed.
func sourcePath(path string) string {
	if !plainPath().MatchString(path) {
		return ""
	}
	return "SourcePath=" + path + "\n"
}

// port is a listener, or the status page, in a form that systemd understands.
type port struct {
	name    string   // FileDescriptorName=
	source  string   // the file that it stands in
	streams []string // values of ListenStream=
	free    bool     // bound before an interface has the address
	backlog int
	inet    bool   // one of streams is an address
	unix    string // settings of unix sockets; "": there are none
}

// unit is the name of the port's own socket unit. Every character that a name may have may stand in
// a unit's (systemd.unit(5)). The colon is one that no listener's name has.
func (p port) unit() string {
	switch name := "tcpmux-" + p.name; {
	case p.isStatus():
		return p.name + ".socket"
	case name == config.StatusSocket || name == config.ControlSocket:
		return "tcpmux-listener:" + p.name + ".socket"
	default:
		return name + ".socket"
	}
}

// isStatus reports whether the port is that of the status page.
func (p port) isStatus() bool { return p.name == config.StatusSocket }

func (p port) what() string {
	if p.isStatus() {
		return "status page"
	}
	return "port of listener " + p.name
}

func (p port) manual() string {
	if p.isStatus() {
		return "man:tcpmux-control(7)"
	}
	return "man:tcpmux.toml(5)"
}

// settings are the lines of [Socket] that the configuration decides on.
func (p port) settings() string {
	var b strings.Builder
	for _, s := range p.streams {
		fmt.Fprintf(&b, "ListenStream=%s\n", s)
	}
	fmt.Fprintf(&b, "FileDescriptorName=%s\nBacklog=%d\n", p.name, p.backlog)
	if p.inet {
		b.WriteString("# 0.0.0.0 and [::] are two addresses, as the configuration has them.\nBindIPv6Only=ipv6-only\n")
	}
	b.WriteString(p.unix)
	if p.free {
		b.WriteString("# At boot the port is opened before the network has its addresses.\nFreeBind=yes\n")
	}
	return b.String()
}

// Load lets nothing else through; here it is what stands between a name and a second line of the
// unit.
var plainName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`) })

// statusBacklog is enough for browsers and what collects metrics.
const statusBacklog = 64

// statusPort returns the port of the status page.
func statusPort(cfg config.Config, ipv6 bool) (port, error) {
	l := config.Listener{Name: config.StatusSocket, Source: cfg.Path, Address: cfg.Status.Address, Backlog: statusBacklog}
	return portOf("[status]", l, ipv6)
}

func newPort(l config.Listener, ipv6 bool) (port, error) {
	if !plainName().MatchString(l.Name) || l.Name == config.StatusSocket {
		return port{}, fmt.Errorf("listener %q: want a name of letters, digits, dot, dash and underscore", l.Name)
	}
	return portOf(fmt.Sprintf("listener %q", l.Name), l, ipv6)
}

// portOf returns the port of a listener whose name may stand in a unit. Errors name its owner.
func portOf(owner string, l config.Listener, ipv6 bool) (port, error) {
	p := port{name: l.Name, source: l.Source, backlog: l.Backlog}
	var errs []error
	for _, address := range l.Addresses(ipv6) {
		if path := config.UnixPath(address); path != "" {
			errs = append(errs, p.addUnix(owner, path, l))
			continue
		}
		a, err := netip.ParseAddrPort(address)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: address %q: want an IP address and a port", owner, address))
		case a.Port() == 0:
			errs = append(errs, fmt.Errorf("%s: address %q: systemd opens no port 0, want 1 or more", owner, address))
		case a.Addr().Zone() != "" && !plainName().MatchString(a.Addr().Zone()):
			errs = append(errs, fmt.Errorf("%s: address %q: want the name of an interface behind the %%", owner, address))
		}
		p.streams, p.inet = append(p.streams, stream(a)), true
		p.free = p.free || !a.Addr().IsUnspecified() && !a.Addr().IsLoopback()
	}
	if len(l.Address) == 0 {
		errs = append(errs, fmt.Errorf("%s: has no address", owner))
	}
	return p, errors.Join(errs...)
}

// stream is a in the spelling of systemd.socket(5), which has the interface of a link-local address
// behind the port, and a percent sign doubled.
func stream(a netip.AddrPort) string {
	zone := a.Addr().Zone()
	if zone == "" {
		return a.String()
	}
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()).String() + "%%" + zone
}
