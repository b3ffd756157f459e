package config

import (
	"slices"
	"strings"

	"tcpmux/config/fault"
)

// The values of Listener.Service.
const (
	ServiceRecord  = "record"
	ServiceExec    = "exec"
	ServiceProxy   = "proxy"
	ServiceMux     = "mux"
	ServiceEcho    = "echo"
	ServiceDiscard = "discard"
	ServiceDaytime = "daytime"
	ServiceTime    = "time"
	ServiceChargen = "chargen"
)

// builtIn are the services that the daemon has itself, for tests of networks.
var builtIn = []string{ServiceEcho, ServiceDiscard, ServiceDaytime, ServiceTime, ServiceChargen}

// BuiltIn reports whether the service is one that the daemon has itself: echo, discard, daytime,
// time or chargen.
func (l *Listener) BuiltIn() bool { return slices.Contains(builtIn, l.Service) }

// OffRecord reports whether there are no records of the listener's clients at all, not even of
// their begin and end.
func (l *Listener) OffRecord() bool { return l.BuiltIn() && !l.Record }

// hears reports whether the service takes messages of clients that can be recorded.
func (l *Listener) hears() bool {
	return l.Record && !slices.Contains([]string{ServiceDaytime, ServiceTime, ServiceChargen}, l.Service)
}

func service() kind[string] {
	return word(append([]string{ServiceRecord, ServiceExec, ServiceProxy, ServiceMux}, builtIn...)...)
}

// impliedService returns the service that other keys of the listener ask for.
func (l *Listener) impliedService() string {
	switch {
	case l.Muxes():
		return ServiceMux
	case len(l.Exec) > 0:
		return ServiceExec
	case len(l.Proxy.To) > 0:
		return ServiceProxy
	}
	return ServiceRecord
}

// applyService sets the service, and the defaults that depend on it: only one that records greets
// its clients with the banner of the top level, and records what they send. At the top level,
// record is a table.
func (t table) applyService(l *Listener) {
	if _, set := t.Values["service"]; !set {
		l.Service = l.impliedService()
	}
	_, banner := t.Values["banner"]
	_, exec := t.Values["exec"]
	_, proxy := t.Values["proxy"]
	if (exec && len(l.Exec) > 0 || proxy && len(l.Proxy.To) > 0 || l.BuiltIn()) && !banner {
		l.Banner = Bytes{}
	}
	if _, set := t.Values["record"].(bool); !set {
		l.Record = l.Service == ServiceRecord
	}
}

// checkServices reports keys that contradict a service, and warns of keys without effect.
func checkServices(c *Config, tables []table) {
	for i, l := range c.Listeners {
		t := tables[i]
		if !t.checkService(l) {
			continue
		}
		switch {
		case l.Service == ServiceRecord && !l.Record:
			t.At("record").Want(false, "true, or another service: with this one, clients must be recorded")
		case len(l.Exec) > 0:
			t.checkModel(l, "exec"+t.Origin("exec")+" runs a program for each client", "exec = []", "goroutine")
			t.warnOfIgnored(l)
		case l.BuiltIn():
			t.checkModel(l, "service is "+fault.Quote(l.Service), "another service", "goroutine", "thread")
			t.warnOfUnheard(l)
		case l.Proxies():
			t.checkModel(l, "proxy"+t.Origin("proxy")+" connects clients with an upstream", "proxy = []", "goroutine", "thread")
			t.checkProxy(l)
			t.warnOfUnproxied(l)
		}
	}
}

// checkService reports a service that the other keys contradict, and whether there is none.
func (t table) checkService(l Listener) bool {
	at, implied := t.At("service"), l.impliedService()
	switch {
	case at.Failed() || t.At("mux").Failed() || t.At("exec").Failed() || t.At("proxy").Failed():
		return false
	case len(l.Exec) > 0 && len(l.Proxy.To) > 0:
		return t.Setting("proxy").Fault("is set, and exec%s runs a program for each client: want proxy = [], or exec = []", t.Origin("exec"))
	case l.Muxes() && len(l.Exec)+len(l.Proxy.To) > 0:
		return t.contradictMux(l)
	case l.Service == implied || l.BuiltIn() && implied == ServiceRecord:
		return true
	case implied == ServiceMux:
		return at.Fault("is %s, and mux has clients name another listener: want mux = [], or no service", fault.Quote(l.Service))
	case implied == ServiceExec:
		return at.Fault("is %s, and exec%s runs a program for each client: want exec = [], or no service", fault.Quote(l.Service), t.Origin("exec"))
	case implied == ServiceProxy:
		return at.Fault("is %s, and proxy%s connects clients with an upstream: want proxy = [], or no service", fault.Quote(l.Service), t.Origin("proxy"))
	}
	return at.Fault("is %s without %s: want both, or another service", fault.Quote(l.Service), l.Service)
}

// checkModel reports a model that the listener cannot have because of something.
func (t table) checkModel(l Listener, because, otherwise string, models ...string) {
	if at := t.Setting("model"); !slices.Contains(models, l.Model) && !at.Failed() {
		at.Fault("is %s, and %s: want \"%s\", or %s", fault.Quote(l.Model), because, strings.Join(models, `" or "`), otherwise)
	}
}
