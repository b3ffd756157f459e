package config

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"tcpmux/config/document"
	"tcpmux/config/fault"
)

// placeholders are the words in braces that are replaced in a banner.
var placeholders = []string{"client", "server", "listener", "session", "time", "hostname"}

// placeholderForm finds what may have been meant for a placeholder: a word after a brace, or
// several joined by dots or dashes, with or without a closing brace.
var placeholderForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{+ *[a-zA-Z_]\w*(?:[.-]\w+)*(?: *\}+)?`) })

// warnOfPlaceholders warns of all in s that looks like a placeholder and is none of words.
func warnOfPlaceholders(s string, words []string, at document.Place) {
	for _, found := range placeholderForm().FindAllString(s, -1) {
		word := strings.Trim(found, "{ }")
		known := slices.Contains(words, word)
		switch {
		case found == "{"+word+"}" && !known:
			replaced := "this key has no placeholders"
			if len(words) > 0 {
				replaced = "the placeholders are {" + strings.Join(words, "}, {") + "}"
			}
			at.Warn("has %s, which is sent as written: %s", fault.Quote(found), replaced)
		case found != "{"+word+"}" && known:
			at.Warn("has %s: did you mean {%s}?", fault.Quote(found), word)
		}
	}
}
