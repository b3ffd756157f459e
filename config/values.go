package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
			at.want(v, choice(words))
			return
		}
		*dst = s
	}
}

// choice is `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
func choice(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	last := len(quoted) - 1
	if last == 0 {
		return quoted[0]
	}
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

func size(dst *int64, least, most int64) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		n, ok, fits := parseSize(s)
		switch {
		case !ok && strings.HasPrefix(s, "-"):
			at.want(v, formatSize(least)+" or more")
		case !ok:
			at.want(v, `a whole number with its unit, B, KiB, MiB, GiB or TiB, such as "64KiB"`)
		case !fits || n > most:
			at.want(v, formatSize(most)+" or less")
		case n < least:
			at.want(v, formatSize(least)+" or more")
		default:
			*dst = n
		}
	}
}

func duration(dst *time.Duration) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		d, ok := parseDuration(s)
		switch {
		case !ok:
			at.want(v, `a duration with its unit, such as "30s"`)
		default:
			setDuration(dst, d, at, v, formatDuration(maxDuration))
		}
	}
}

func days(dst *time.Duration) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		d, ok := parseDays(s)
		switch {
		case !ok || d%day != 0:
			at.want(v, `whole days, such as "30d" or "720h", or "0s" for ever`)
		default:
			setDuration(dst, d, at, v, formatDays(maxDuration))
		}
	}
}

func setDuration(dst *time.Duration, d time.Duration, at place, v any, most string) {
	switch {
	case d < 0:
		at.want(v, "0s or more")
	case d > maxDuration:
		at.want(v, most+" or less")
	default:
		*dst = d
	}
}

var modeForm = regexp.MustCompile(`^0?[0-7]{3}$`)

func mode(dst *uint32) setter {
	return func(v any, at place) {
		s, _ := v.(string)
		n, _ := strconv.ParseUint(s, 8, 32)
		switch {
		case !modeForm.MatchString(s):
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

const maxBanner = 4 << 10

// placeholders are the words that a banner has filled in.
var placeholders = []string{"client", "server", "listener", "session", "time", "hostname"}

var placeholderForm = regexp.MustCompile(`\{([a-zA-Z_]+)\}`)

func banner(dst *string) setter {
	return func(v any, at place) {
		s, ok := v.(string)
		if !ok || len(s) > maxBanner {
			at.want(v, "text in quotes of "+formatSize(maxBanner)+" at most")
			return
		}
		*dst = s
		for _, m := range placeholderForm.FindAllStringSubmatch(s, -1) {
			if !slices.Contains(placeholders, m[1]) {
				at.warn("has %s, which is sent as written: only {%s} are filled in", quote(m[0]), strings.Join(placeholders, "}, {"))
			}
		}
	}
}
