package program

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"tcpmux/daemon/record"
)

// appendTLS appends to an environment what is known of the client's TLS; nil is that it speaks
// clear text. The names are those of mod_ssl. What the client has not said has no variable.
func appendTLS(env []string, t *record.TLS) []string {
	if t == nil {
		return env
	}
	verified := "NONE"
	if t.Subject != "" { // a certificate that is not good ends the handshake
		verified = "SUCCESS"
	}
	env = append(env, "SSL_PROTOCOL=TLSv"+t.Version, "SSL_CIPHER="+t.Cipher, "SSL_CLIENT_VERIFY="+verified)
	if t.ServerName != "" {
		env = append(env, "SSL_TLS_SNI="+escape(strings.ReplaceAll(t.ServerName, `\`, `\5C`)))
	}
	if t.Subject != "" {
		env = append(env, "SSL_CLIENT_S_DN="+escape(t.Subject))
	}
	return env
}

// escape replaces control characters and bytes that are no UTF-8 by \ and two hexadecimal digits,
// as RFC 4514 has it (section 2.4): a variable cannot hold a NUL, and a name that is written to a
// log can neither end its line nor drive a terminal.
func escape(name string) string {
	var b strings.Builder
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError && n == 1 {
			for _, c := range []byte(name[:n]) {
				fmt.Fprintf(&b, `\%02X`, c)
			}
		} else {
			b.WriteString(name[:n])
		}
		name = name[n:]
	}
	return b.String()
}
