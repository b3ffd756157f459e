package config

import (
	"slices"

	"tcpmux/config/document"
)

// maxForwarded is how many record files can be delivered: where the delivery stands in each of
// them, and in some archives, has to fit into the headers of a message.
const maxForwarded = 1000

// checkForward reports keys of [forward] that contradict each other or [record], and warns of
// likely mistakes.
func (r *reader) checkForward(c *Config) {
	r.checkSecrets(c.Forward)
	servers := r.At("forward", "servers")
	if servers.Failed() {
		return
	}
	if !c.Forward.On() {
		r.warnOfIdleForward(c)
		return
	}
	if c.Record.Format != "json" && !r.At("record", "format").Failed() {
		servers.Fault(`is set and record.format is %q: want format = "json" in [record], or no servers`, c.Record.Format)
	}
	if !c.recordsInFiles() && !r.partial && !r.AnyFailed("file") {
		servers.Fault("is set and no record goes to a file: want the path of a file in record.file, or no servers")
	}
	if c.Record.MinFree == 0 && !r.At("record", "min_free").Failed() {
		servers.Warn(`is set and record.min_free is "0B": files are kept until they are delivered, so that a long outage fills the disk: want min_free, such as "1GiB"`)
	}
	if n := len(c.RecordPaths()); n > maxForwarded {
		servers.Fault("is set and there are %d record files, want at most %d: let listeners share some, or no servers", n, maxForwarded)
	}
	r.warnOfClearText(c.Forward)
	r.warnOfForeignStream(c)
}

// checkSecrets reports more than one way to authenticate, and half of one.
func (r *reader) checkSecrets(f Forward) {
	first := "" // the key of the first way
	for _, way := range []struct{ key, value string }{
		{"credentials", f.Credentials}, {"nkey", f.NKey}, {"token", f.Token}, {"user", f.User},
	} {
		switch at := r.At("forward", way.key); {
		case way.value == "":
		case first == "":
			first = way.key
		default:
			at.Want(way.value, `"", or `+first+` = "": there is one way to authenticate`)
		}
	}
	for _, pair := range []struct{ key, value, other, with string }{
		{"user", f.User, "password", f.Password}, {"password", f.Password, "user", f.User},
		{"certificate", f.Certificate, "key", f.Key}, {"key", f.Key, "certificate", f.Certificate},
	} {
		at := r.At("forward", pair.key)
		if pair.value != "" && pair.with == "" && !at.Failed() && !r.At("forward", pair.other).Failed() {
			at.Fault("is set without %s: want both", pair.other)
		}
	}
}

// warnOfIdleForward warns of the first key that has no effect as there are no servers.
func (r *reader) warnOfIdleForward(c *Config) {
	var first *document.Place
	for _, k := range (section{table: "forward"}).keys() {
		at := r.At("forward", k.Name)
		if k.value.write(topTarget(c, new(Listener))) != k.Default() && (first == nil || at.Line() < first.Line()) {
			first = &at
		}
	}
	if first != nil {
		first.Warn("has no effect without servers: want servers, or no [forward]")
	}
}

// warnOfClearText warns of a secret that goes over a network as it is.
func (r *reader) warnOfClearText(f Forward) {
	secret := "password"
	if f.Token != "" {
		secret = "token"
	}
	if f.TLS || f.CA != "" || f.Certificate != "" || f.Token == "" && f.Password == "" {
		return
	}
	i := slices.IndexFunc(f.Servers, func(server string) bool {
		scheme, local := schemeOf(server)
		return !local && (scheme == "nats" || scheme == "ws")
	})
	if i >= 0 {
		r.At("forward", "servers").Warn("has %q, to which %s is sent unencrypted unless the server demands TLS: want tls = true", f.Servers[i], secret)
	}
}

// warnOfForeignStream warns of keys that are for a new stream alone, if none is created.
func (r *reader) warnOfForeignStream(c *Config) {
	if c.Forward.Create || r.At("forward", "create").Failed() {
		return
	}
	for _, name := range []string{"max_bytes", "max_age", "replicas"} {
		k, at := find(section{table: "forward"}, name), r.At("forward", name)
		if text := k.value.write(topTarget(c, new(Listener))); text != k.Default() {
			at.Warn("is %s and has no effect without create = true: want that, or no %s", text, name)
		}
	}
}
