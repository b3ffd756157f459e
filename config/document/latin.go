package document

import "strconv"

// latinEscape returns the first escape in a basic string of TOML that stands for a character from
// U+0080 to U+00FF, as it is written there: "\xd9", "\u00d9" or "\U000000d9". It returns "" when
// there is none.
func latinEscape(token string) string {
	for i := 0; i < len(token); i++ {
		if token[i] != '\\' {
			continue
		}
		i++ // what is escaped may be a backslash
		digits := 0
		switch {
		case i == len(token):
		case token[i] == 'x':
			digits = 2
		case token[i] == 'u':
			digits = 4
		case token[i] == 'U':
			digits = 8
		}
		end := i + 1 + digits
		if digits == 0 || end > len(token) {
			continue
		}
		if r, err := strconv.ParseUint(token[i+1:end], 16, 32); err == nil && 0x80 <= r && r <= 0xff {
			return token[i-1 : end]
		}
	}
	return ""
}
