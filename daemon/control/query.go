package control

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"tcpmux/daemon/control/api"
	"tcpmux/daemon/sockaddr"
)

const (
	// maxName bounds the name of a listener or session.
	maxName = 128
	// maxIdle bounds a time in seconds; it is some 300 years.
	maxIdle = 1e10
	// maxSessions bounds a limit.
	maxSessions = 10_000_000
)

// sortKeys are what sessions are sorted by.
var sortKeys = []string{"opened", "heard", "bytes", "records", "remote"}

// badRequest is a mistake of the one who asks.
type badRequest struct{ text string }

// Error implements error.
func (e *badRequest) Error() string { return e.text }

func bad(format string, args ...any) error { return &badRequest{fmt.Sprintf(format, args...)} }

// parameters are those that a path takes, with what stores each in a filter.
type parameters map[string]func(f *api.Filter, value string) error

var (
	listParameters = parameters{
		"listener": setListener, "source": setSource, "idle": setIdle,
		"min_bytes": setMinBytes, "sort": setSort, "limit": setLimit,
	}
	tailParameters = parameters{"listener": setListener, "source": setSource, "session": setSession}
	killParameters = parameters{"listener": setListener, "source": setSource, "all": setAll}
	noParameters   = parameters{}
)

// filter reads the query of a request. It also returns which parameters were there.
func (ps parameters) filter(r *http.Request) (f api.Filter, given url.Values, err error) {
	given, err = url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return f, nil, bad("the query is malformed: %.200q", r.URL.RawQuery)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		set, values := ps[name], given[name]
		switch {
		case set == nil && len(ps) == 0:
			return f, nil, bad("parameter %.200q: want none", name)
		case set == nil:
			return f, nil, bad("parameter %.200q: want %s", name, strings.Join(slices.Sorted(maps.Keys(ps)), ", "))
		case len(values) != 1:
			return f, nil, bad("parameter %q is given %d times, want it once", name, len(values))
		}
		if err := set(&f, values[0]); err != nil {
			return f, nil, err
		}
	}
	return f, given, nil
}

// checkName returns an error for what cannot be a name of a listener or session.
func checkName(what, name string) error {
	visible := func(r rune) bool { return r > ' ' && r < 0x7f }
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !visible(r) }) {
		return bad("%s is %.200q, want a name of 1 to %d visible characters of ASCII", what, name, maxName)
	}
	return nil
}

func setListener(f *api.Filter, value string) error {
	f.Listener = value
	return checkName("listener", value)
}

func setSession(f *api.Filter, value string) error {
	f.ID = value
	return checkName("session", value)
}

func setSource(f *api.Filter, value string) error {
	if sockaddr.IsUser(value) {
		uid, err := sockaddr.ParseUser(value)
		if err != nil {
			return bad("source: %v", err)
		}
		f.Source = sockaddr.FormatUser(uid)
		return nil
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		a, aerr := netip.ParseAddr(value)
		if aerr != nil || a.Zone() != "" {
			return bad(`source is %.200q, want an IP address, a prefix such as "192.0.2.0/24", or uid=N for the clients of unix sockets that are of a user`, value)
		}
		f.Source = a.Unmap().String()
		return nil
	}
	if p.Masked() != p {
		return bad("source is %q, want %q or a single address", value, p.Masked())
	}
	f.Source = p.String()
	return nil
}

func setIdle(f *api.Filter, value string) error {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > maxIdle {
		return bad("idle is %.200q, want a number of seconds from 0 to %.0f", value, maxIdle)
	}
	f.Idle = n
	return nil
}

func setMinBytes(f *api.Filter, value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return bad("min_bytes is %.200q, want a whole number from 0", value)
	}
	f.MinBytes = n
	return nil
}

func setSort(f *api.Filter, value string) error {
	if !slices.Contains(sortKeys, strings.TrimPrefix(value, "-")) {
		return bad(`sort is %.200q, want %s, or one of them behind "-"`, value, strings.Join(sortKeys, ", "))
	}
	f.Sort = value
	return nil
}

func setLimit(f *api.Filter, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxSessions {
		return bad("limit is %.200q, want a whole number from 1 to %d, or 0 for none", value, maxSessions)
	}
	f.Limit = n
	return nil
}

// setAll stores nothing: that it is there is enough.
func setAll(_ *api.Filter, value string) error {
	if value != "true" {
		return bad("all is %.200q, want true", value)
	}
	return nil
}
