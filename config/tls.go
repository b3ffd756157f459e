package config

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"tcpmux/config/document"
)

// TLS is whether and how a listener's clients speak TLS.
type TLS struct {
	// Certificate is the file with the server's certificate and those that it was issued by, in
	// PEM, and Key is the file with its key, both in the form of SecretPath. Either both are
	// set or none; none means that clients speak clear text.
	Certificate, Key string
	// ClientCA is the file with the certificates that a client's must be signed by, in the form
	// of SecretPath; "" is for none.
	ClientCA string
	// ClientAuth is whether a client shows a certificate: "none", "request" (a client may have
	// none; one that it shows must be good) or "require". Without ClientCA it is "none".
	ClientAuth string
	// CRL is the file with lists of certificates that are revoked, in PEM or DER, in the form
	// of SecretPath; "" is for none.
	CRL string
	// MinVersion is the lowest version of TLS: "1.2" or "1.3".
	MinVersion string
	// HandshakeTimeout is how long a handshake may take.
	HandshakeTimeout time.Duration
	// Survive is whether clients outlive the process: "auto" (those that can), "require"
	// (others are refused) or "off".
	Survive string
	// AllowSubjects and DenySubjects are patterns of subjects of client certificates. One that
	// matches DenySubjects is refused, as is one that matches none of AllowSubjects, unless
	// that is empty. * stands for any text.
	AllowSubjects, DenySubjects []string
}

// On reports whether the listener's clients speak TLS.
func (t *TLS) On() bool { return t.Certificate != "" }

const (
	noClientAuth = "none"    // of TLS.ClientAuth
	mustSurvive  = "require" // of TLS.Survive
)

// clearText reports whether a [[listener]] says itself that its clients speak clear text. It then
// inherits nothing of [tls].
func (t table) clearText() bool {
	own, _ := t.Values["tls"].(map[string]any)
	return own["certificate"] == ""
}

// tlsFile takes the path of a file or the name of a credential of systemd, or "". No message shows
// the value, as it may be a key.
func tlsFile(empty string) kind[string] {
	return fileOrCredential(orZero("the absolute path of a file, the name of a credential", `""`, empty), true)
}

const (
	maxPattern  = 1 << 10 // bytes of a pattern
	maxPatterns = 1000    // in an array; a file of rules has more
)

// subjects takes an array of patterns of subjects.
func subjects() kind[[]string] {
	allowed := fmt.Sprintf("an array of up to %d patterns of subjects", maxPatterns)
	read := func(v any, at place) (list []string, ok bool) {
		items, ok := v.([]any)
		if !ok || len(items) > maxPatterns {
			return nil, at.Want(v, allowed+`, such as ["CN=scanner-*,O=Example"]`)
		}
		for i, item := range items {
			s, _ := item.(string)
			if want := patternProblem(s); want != "" {
				ok = at.Item(i).Want(item, want) || at.Fail()
				continue
			}
			list = append(list, s)
		}
		return list, ok
	}
	return kind[[]string]{allowed, read, document.ArrayTOML}
}

// patternProblem returns what is wanted instead of a pattern of subjects, or "" if it is one.
func patternProblem(s string) (want string) {
	if s == "" || len(s) > maxPattern || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return fmt.Sprintf(`a pattern of 1 to %d printable bytes, such as "CN=scanner-*,O=Example", where * stands for any text`, maxPattern)
	}
	return ""
}
