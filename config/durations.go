package config

import (
	"fmt"
	"time"

	"tcpmux/config/document"
	"tcpmux/config/notation"
)

const (
	minDuration  = time.Millisecond
	durationForm = `; units are ms, s, m, h and d, as in "30s"`
)

// duration takes a duration, where "0s" has a meaning of its own.
func duration(zero string) kind[time.Duration] { return durationFrom(minDuration, zero) }

// durationFrom takes a duration that is not shorter than least, where "0s" has a meaning of its
// own.
func durationFrom(least time.Duration, zero string) kind[time.Duration] {
	allowed := orZero(fmt.Sprintf("a duration from %s to %s", notation.FormatDuration(least), notation.FormatDuration(maxDuration)), `"0s"`, zero)
	read := func(v any, at place) (time.Duration, bool) {
		s, _ := v.(string)
		d, ok := notation.ParseDuration(s)
		switch {
		case !ok:
			return 0, at.Want(v, allowed+durationForm)
		case d != 0 && d < least || d > maxDuration:
			return 0, at.Want(v, allowed)
		}
		return d, true
	}
	return kind[time.Duration]{allowed, read, writeDuration}
}

// durationUpTo takes a duration, where 0 has no meaning.
func durationUpTo(most time.Duration) kind[time.Duration] { return durationBetween(minDuration, most) }

// durationBetween takes a duration in a range without 0.
func durationBetween(least, most time.Duration) kind[time.Duration] {
	return durationWhere(durationRange(least, most), func(d time.Duration) bool { return least <= d && d <= most })
}

// wholeSeconds takes a duration without a fraction: the kernel counts keepalive in seconds.
func wholeSeconds(least, most time.Duration) kind[time.Duration] {
	return durationWhere(durationRange(least, most)+" in whole seconds", func(d time.Duration) bool {
		return least <= d && d <= most && d%time.Second == 0
	})
}

func durationRange(least, most time.Duration) string {
	return fmt.Sprintf("a duration from %s to %s", notation.FormatDuration(least), notation.FormatDuration(most))
}

// durationWhere takes a duration that is right; allowed says which are.
func durationWhere(allowed string, right func(time.Duration) bool) kind[time.Duration] {
	read := func(v any, at place) (time.Duration, bool) {
		s, _ := v.(string)
		d, ok := notation.ParseDuration(s)
		if !ok {
			return 0, at.Want(v, allowed+durationForm)
		}
		return d, right(d) || at.Want(v, allowed)
	}
	return kind[time.Duration]{allowed, read, writeDuration}
}

func writeDuration(d time.Duration) string { return document.QuoteTOML(notation.FormatDuration(d)) }

// idleTimeout takes a duration, and warns of a very short one.
func idleTimeout() kind[time.Duration] {
	k := duration("for no timeout")
	read := k.read
	k.read = func(v any, at place) (time.Duration, bool) {
		d, ok := read(v, at)
		if 0 < d && d < time.Second {
			at.Warn("is %s: most clients are closed before they have sent anything", document.Show(v))
		}
		return d, ok
	}
	return k
}

// days takes a number of days, where "0s" has a meaning of its own.
func days(zero string) kind[time.Duration] {
	allowed := fmt.Sprintf(`whole days from %s to %s, or "0s" %s`, notation.FormatDuration(notation.Day), notation.FormatDuration(maxDuration), zero)
	read := func(v any, at place) (time.Duration, bool) {
		s, _ := v.(string)
		d, ok := notation.ParseDuration(s)
		if !ok || d < 0 || d > maxDuration || d%notation.Day != 0 {
			return 0, at.Want(v, allowed+`, as in "30d" or "720h"`)
		}
		return d, true
	}
	return kind[time.Duration]{allowed, read, writeDuration}
}

// The words of sync. It takes no "0s", which could mean either.
const (
	syncAlways = "always"
	syncNone   = "none"
)

func syncTime() kind[time.Duration] {
	allowed := fmt.Sprintf("%q, %q or a duration from %s to %s", syncAlways, syncNone, notation.FormatDuration(minDuration), notation.FormatDuration(maxDuration))
	read := func(v any, at place) (time.Duration, bool) {
		s, _ := v.(string)
		switch s {
		case syncAlways:
			return SyncAlways, true
		case syncNone:
			return SyncNone, true
		}
		d, ok := notation.ParseDuration(s)
		if !ok {
			return 0, at.Want(v, allowed+durationForm)
		}
		return d, minDuration <= d && d <= maxDuration || at.Want(v, allowed)
	}
	return kind[time.Duration]{allowed, read, func(d time.Duration) string { return document.QuoteTOML(formatSync(d)) }}
}

func formatSync(d time.Duration) string {
	switch d {
	case SyncAlways:
		return syncAlways
	case SyncNone:
		return syncNone
	}
	return notation.FormatDuration(d)
}
