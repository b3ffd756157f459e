package config

import (
	"slices"
	"strings"

	"tcpmux/config/document"
)

// checkTLS reports keys of [tls] and [listener.tls] that contradict each other or other keys.
// tables are those of the listeners, in their order.
//
// Whether there is an error depends on the values alone, and not on where they stand, so that
// WriteTOML writes nothing that has one.
func (r *reader) checkTLS(c *Config, tables []table) {
	failed, said := map[string]bool{}, map[string]bool{}
	for _, k := range keys() {
		failed[k.Name] = r.AnyFailed(k.Name) // before what is reported here
	}
	for i, t := range tables {
		l := &c.Listeners[i]
		check := tlsCheck{t, l.TLS, failed, said}
		check.pair()
		if l.TLS.On() {
			check.clientAuth()
			check.subjects()
			check.survival(c, l)
		}
	}
}

// tlsCheck checks the settings of one listener.
type tlsCheck struct {
	table
	TLS
	failed map[string]bool // keys that had an error before, by their names
	said   map[string]bool // what was reported
}

// at returns the place of the first key, and whether to report what the keys contradict: none of
// them has an error, and nothing was reported of the same values, which several listeners inherit.
func (c tlsCheck) at(keys ...string) (first document.Place, report bool) {
	var id []string
	for _, key := range keys {
		if c.failed[key] {
			return first, false
		}
		path := tlsPath(key)
		values := c.Values
		if len(path) > 1 {
			values, _ = values[path[0]].(map[string]any)
		}
		owner := ""
		if _, own := values[path[len(path)-1]]; own {
			owner = c.owner
		}
		id = append(id, key, owner)
	}
	text := strings.Join(id, "\x00")
	report = !c.said[text]
	c.said[text] = true
	return c.Setting(tlsPath(keys[0])...), report
}

// tlsPath returns the path of a key of [tls], or of one of the few others that matter here.
func tlsPath(key string) []string {
	if key == "exec" || key == "model" {
		return []string{key}
	}
	return []string{"tls", key}
}

// pair reports half of a certificate with its key.
func (c tlsCheck) pair() {
	for _, half := range []struct{ key, value, other, with string }{
		{"certificate", c.Certificate, "key", c.Key}, {"key", c.Key, "certificate", c.Certificate},
	} {
		if half.value == "" || half.with != "" {
			continue
		}
		if at, ok := c.at(half.key, half.other); ok {
			at.Fault("is set without %s: want both", half.other)
		}
	}
}

// clientAuth reports certificates of clients that nothing is there to check with.
func (c tlsCheck) clientAuth() {
	switch {
	case c.ClientCA != "":
	case c.ClientAuth != noClientAuth:
		if at, ok := c.at("client_auth", "client_ca"); ok {
			at.Fault("is %q without client_ca: want client_ca, the certificates that those of clients are signed by, or %q", c.ClientAuth, noClientAuth)
		}
	case c.CRL != "":
		if at, ok := c.at("crl", "client_ca"); ok {
			at.Fault("is set without client_ca: want client_ca, or no crl")
		}
	}
}

// subjects reports patterns that no subject is compared with, and those that contradict each other.
func (c tlsCheck) subjects() {
	for _, list := range []struct {
		key      string
		patterns []string
	}{{"allow_subjects", c.AllowSubjects}, {"deny_subjects", c.DenySubjects}} {
		if len(list.patterns) == 0 || c.ClientAuth != noClientAuth {
			continue
		}
		if at, ok := c.at(list.key, "client_auth"); ok {
			at.Fault(`is set and client_auth%s is %q, so that no client shows a certificate: want client_auth = "require" or "request", or []`, c.Origin("tls", "client_auth"), noClientAuth)
		}
	}
	both := slices.IndexFunc(c.DenySubjects, func(pattern string) bool { return slices.Contains(c.AllowSubjects, pattern) })
	if both < 0 {
		return
	}
	if at, ok := c.at("deny_subjects", "allow_subjects"); ok {
		at.Fault("has %q, which is also in allow_subjects%s: want it in one of them", c.DenySubjects[both], c.Origin("tls", "allow_subjects"))
	}
}

// survival reports what keeps clients from surviving that must.
func (c tlsCheck) survival(all *Config, l *Listener) {
	if c.Survive != mustSurvive {
		return
	}
	if at, ok := c.at("survive", "min_version"); ok && c.MinVersion != "1.3" {
		at.Fault(`is %q and min_version%s is %q, whose clients cannot survive: want min_version = "1.3", or survive = "auto"`, c.Survive, c.Origin("tls", "min_version"), c.MinVersion)
	}
	if at, ok := c.at("survive", "exec"); ok && len(l.Exec) > 0 {
		at.Fault(`is %q and exec%s runs a program for each client, which cannot survive: want "auto", or exec = []`, c.Survive, c.Origin("exec"))
	}
	if at, ok := c.at("survive", "model"); ok && l.Model == "process" {
		at.Fault(`is %q and model%s is "process", whose TLS clients cannot survive: want "auto", or another model`, c.Survive, c.Origin("model"))
	}
	if at, ok := c.at("survive"); ok && !all.Survive {
		at.Fault(`is %q and the top-level survive is false: want survive = true, or "auto"`, c.Survive)
	}
}
