package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

func number(dst *int, least, most int64) setter {
	return func(v any, at place) {
		n, ok := v.(int64)
		switch {
		case !ok:
			at.want(v, fmt.Sprintf("a whole number from %d to %d%s", least, most, unquoted(v)))
		case n < least:
			at.want(v, fmt.Sprintf("%d or more", least))
		case n > most:
			at.want(v, fmt.Sprintf("%d or less", most))
		default:
			*dst = int(n)
		}
	}
}

// oneOf takes one of a few numbers.
func oneOf(dst *int, numbers ...int) setter {
	return func(v any, at place) {
		n, ok := v.(int64)
		if !ok || !slices.ContainsFunc(numbers, func(number int) bool { return int64(number) == n }) {
			at.want(v, choice(numbers)+unquoted(v))
			return
		}
		*dst = int(n)
	}
}

func boolean(dst *bool) setter {
	return func(v any, at place) {
		b, ok := v.(bool)
		if !ok {
			at.want(v, "true or false"+unquoted(v))
			return
		}
		*dst = b
	}
}

// unquoted reminds who wrote a string of how numbers and truth are written.
func unquoted(v any) string {
	if _, ok := v.(string); ok {
		return ", without quotes"
	}
	return ""
}

func word(dst *string, words ...string) setter {
	return func(v any, at place) {
		s, ok := v.(string)
		if !ok || !slices.Contains(words, s) {
			at.want(v, choice(quoted(words)))
			return
		}
		*dst = s
	}
}

// choice is `a or b`, `a, b or c`.
func choice[T any](of []T) string {
	texts := make([]string, len(of))
	for i, v := range of {
		texts[i] = fmt.Sprint(v)
	}
	last := len(texts) - 1
	return strings.Join(texts[:last], ", ") + " or " + texts[last]
}

func quoted(words []string) []string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strconv.Quote(w)
	}
	return list
}

func size(dst *int64, least, most int64) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		n, ok, fits := parseSize(s)
		switch {
		case !ok && strings.HasPrefix(s, "-"):
			at.want(v, formatSize(least)+" or more")
		case !ok:
			at.want(v, `a whole number with its unit, B, KiB, MiB, GiB or TiB, such as "64KiB"`+meant(meantSize(s)))
		case !fits || n > most:
			at.want(v, formatSize(most)+" or less")
		case n < least:
			at.want(v, formatSize(least)+" or more")
		default:
			*dst = n
		}
	}
}

// meant is the question behind a value that says almost what is allowed.
func meant(value string) string {
	if value == "" {
		return ""
	}
	return ": did you mean " + strconv.Quote(value) + "?"
}

// duration takes a time; zero says what "0s" is for.
func duration(dst *time.Duration, zero string) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		d, ok := parseDuration(s)
		switch {
		case !ok:
			at.want(v, `a duration with its unit, ms, s, m, h or d, such as "30s", or "0s" `+zero)
		default:
			setDuration(dst, d, at, v)
		}
	}
}

// The words of sync. A duration of 0 is none of them: it could mean either.
const (
	syncAlways = "always"
	syncNone   = "none"
)

func syncTime(dst *time.Duration) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		d, ok := parseDuration(s)
		switch {
		case s == syncAlways:
			*dst = SyncAlways
		case s == syncNone:
			*dst = SyncNone
		case !ok || d < time.Millisecond || d > maxDuration:
			at.want(v, `"always", "none" or a duration of 1ms or more with its unit, ms, s, m, h or d, such as "1s"`)
		default:
			*dst = d
		}
	}
}

func formatSync(d time.Duration) string {
	switch d {
	case SyncAlways:
		return syncAlways
	case SyncNone:
		return syncNone
	}
	return formatDuration(d)
}

func days(dst *time.Duration) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		d, ok := parseDuration(s)
		switch {
		case !ok || d%day != 0:
			at.want(v, `whole days, such as "30d" or "720h", or "0s" for ever`)
		default:
			setDuration(dst, d, at, v)
		}
	}
}

func setDuration(dst *time.Duration, d time.Duration, at place, v any) {
	switch {
	case d < 0:
		at.want(v, "0s or more")
	case 0 < d && d < time.Millisecond:
		at.want(v, "0s, or 1ms or more")
	case d > maxDuration:
		at.want(v, formatDuration(maxDuration)+" or less")
	default:
		*dst = d
	}
}

var (
	modeForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^0?[0-7]{3}$`) })
	modeSlip = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:0o)?0*([0-7]{3})$`) })
)

// meantMode is the mode that is written as a number, "" if it is none.
func meantMode(number string) string {
	if m := modeSlip().FindStringSubmatch(number); m != nil {
		return "0" + m[1]
	}
	return ""
}

func mode(dst *uint32) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		n, _ := strconv.ParseUint(s, 8, 32)
		_, isNumber := v.(int64)
		switch {
		case isNumber && meantMode(at.written(v)) != "":
			at.fault("is %s, want it in quotes: %q", at.written(v), meantMode(at.written(v)))
		case !modeForm().MatchString(s):
			at.want(v, `permissions as octal digits in quotes, such as "0640"`)
		case n&0o600 != 0o600:
			at.want(v, "a mode that lets the daemon read and write: 06 in front")
		case n&0o002 != 0:
			at.want(v, "a mode that does not let everybody write")
		default:
			*dst = uint32(n)
		}
	}
}

// maxName keeps room below the file system's 255 bytes for what rotation puts behind a file's name.
const maxName = 200

func filePath(dst *string, mayBeEmpty bool) setter {
	return func(v any, at place) {
		s, ok := v.(string)
		switch {
		case !ok || s == "" && !mayBeEmpty:
			at.want(v, `the path of a file in quotes`)
		case strings.ContainsFunc(s, unicode.IsControl):
			at.want(v, "a path without control characters")
		case isDirectory(s):
			at.want(v, "the path of a file, not of a directory")
		case len(s) > 4000 || len(filepath.Base(s)) > maxName:
			at.want(v, fmt.Sprintf("a path of 4000 bytes at most with a name of %d at most", maxName))
		default:
			*dst = s
		}
	}
}

func isDirectory(s string) bool {
	base := s[strings.LastIndexByte(s, '/')+1:]
	return s != "" && (base == "" || base == "." || base == "..")
}

const (
	maxBanner = 4 << 10
	maxAck    = 1 << 10
)

// placeholders are the words that a banner has filled in.
var placeholders = []string{"client", "server", "listener", "session", "time", "hostname"}

// placeholderForm is what may have been meant for a placeholder: a word behind a brace, or several, closed or not.
var placeholderForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{+ *[a-zA-Z_]\w*(?:[.-]\w+)*(?: *\}+)?`) })

// warnOfPlaceholder tells what would be sent otherwise than its author expects.
func warnOfPlaceholder(found string, words []string, at place) {
	word := strings.Trim(found, "{ }")
	known := slices.Contains(words, word)
	switch {
	case found == "{"+word+"}" && !known:
		filled := "nothing is filled in here"
		if len(words) > 0 {
			filled = "only {" + strings.Join(words, "}, {") + "} are filled in"
		}
		at.warn("has %s, which is sent as written: %s", quote(found), filled)
	case found != "{"+word+"}" && known:
		at.warn("has %s: did you mean {%s}?", quote(found), word)
	}
}
