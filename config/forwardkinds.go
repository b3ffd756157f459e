package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"tcpmux/config/document"
	"tcpmux/config/fault"
)

// serverSchemes are those that the URL of a server may have.
var serverSchemes = []string{"nats", "tls", "ws", "wss"}

const serverForm = `the URL of a server, nats://, tls://, ws:// or wss:// with host and port, such as "nats://192.0.2.1:4222"`

// servers takes the URL of one server or an array of them.
func servers() kind[[]string] {
	const allowed = "the URL of a NATS server, an array of them, or [] to deliver nothing"
	read := func(v any, at place) (list []string, ok bool) {
		items, ok := v.([]any)
		if !ok {
			s, ok := serverURL(v, at.Place)
			return []string{s}, ok
		}
		ok = true
		for i, item := range items {
			s, valid := serverURL(item, at.Item(i))
			if valid && slices.Contains(list, s) {
				valid = at.Item(i).Want(item, "each server once")
			}
			if !valid {
				ok = at.Fail()
				continue
			}
			list = append(list, s)
		}
		web := 0
		for _, s := range list {
			if strings.HasPrefix(s, "ws") {
				web++
			}
		}
		if ok && web > 0 && web < len(list) {
			return nil, at.Fault("has WebSocket URLs (ws://, wss://) and others, want one kind")
		}
		return list, ok
	}
	return kind[[]string]{allowed, read, addressTOML}
}

// serverURL returns a value that is the URL of a server, or reports at its place what is wrong. It
// shows no value that may hold a password.
func serverURL(v any, at document.Place) (string, bool) {
	s, _ := v.(string)
	scheme, address, found := strings.Cut(s, "://")
	switch {
	case strings.Contains(s, "@"):
		return "", at.Fault("has a URL with a user, a password or a token, want one without, and the paths of files that hold these in user and password, or in token")
	case !found && validServer(s):
		return "", at.Want(v, serverForm+didYouMean("nats://"+s))
	case !slices.Contains(serverSchemes, scheme) || !validServer(address):
		return "", at.Want(v, serverForm)
	}
	return s, true
}

// validServer reports whether an address is a host and a port.
func validServer(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return hostForm().MatchString(host) && strings.ContainsFunc(host, unicode.IsLetter)
}

var hostForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,252}$`) })

// schemeOf returns the scheme of a valid URL, and whether its host is the machine itself.
func schemeOf(server string) (scheme string, local bool) {
	scheme, address, _ := strings.Cut(server, "://")
	host, _, _ := net.SplitHostPort(address) // it was valid
	ip, err := netip.ParseAddr(host)
	return scheme, host == "localhost" || err == nil && ip.IsLoopback()
}

// subjectPlaceholders are the words in braces that a subject may have.
var subjectPlaceholders = []string{"host", "listener", "kind"}

// maxSubject is the size in bytes of the longest template.
const maxSubject = 256

var tokenForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_-]+$`) })

// subjectTemplate takes the template of a subject. It begins with a word, so that the subjects of a
// stream that holds them never include those that NATS uses itself (_INBOX and $JS).
func subjectTemplate() kind[string] {
	const allowed = "words and placeholders joined by dots, with {host}"
	const form = `, such as "tcpmux.{host}.{listener}.{kind}"`
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		if !ok {
			return "", at.Want(v, allowed+form)
		}
		if len(s) > maxSubject {
			return "", at.Want(v, fmt.Sprintf("at most %d bytes", maxSubject))
		}
		seen := map[string]bool{}
		for i, token := range strings.Split(s, ".") {
			word, placeholder := placeholderOf(token)
			switch {
			case placeholder && i == 0:
				return "", at.Want(v, "a word in front of the first placeholder"+form)
			case placeholder && !slices.Contains(subjectPlaceholders, word):
				return "", at.Want(v, fmt.Sprintf("no %s: the placeholders are {%s}", fault.Quote(token), strings.Join(subjectPlaceholders, "}, {")))
			case placeholder && seen[word]:
				return "", at.Want(v, fmt.Sprintf("%s once", token))
			case !placeholder && strings.ContainsAny(token, "{}"):
				return "", at.Want(v, "a dot in front of each placeholder and behind it"+form)
			case !placeholder && !tokenForm().MatchString(token):
				return "", at.Want(v, "words of letters (a-z, A-Z), digits, dashes and underscores, joined by single dots"+form)
			case i == 0 && token[0] == '_':
				return "", at.Want(v, "a first word that does not begin with an underscore: NATS has those for itself")
			}
			seen[word] = placeholder
		}
		return s, seen["host"] || at.Want(v, "{host} in it: it tells the records of this machine from those of others")
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

// placeholderOf returns the word in a token that is in braces.
func placeholderOf(token string) (word string, ok bool) {
	word, opened := strings.CutPrefix(token, "{")
	word, closed := strings.CutSuffix(word, "}")
	return word, opened && closed && !strings.ContainsAny(word, "{}")
}

// maxHost is the size in bytes of the longest name of a machine.
const maxHost = 253

// hostName takes the name of a machine, or "".
func hostName() kind[string] {
	allowed := fmt.Sprintf(`a name of at most %d bytes, or "" for the machine's name`, maxHost)
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		return s, ok && len(s) <= maxHost && !strings.ContainsFunc(s, unicode.IsControl) || at.Want(v, allowed)
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

var plainForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`) })

// plainName takes the name of a stream or the like. With a meaning for "" it takes that too.
func plainName(empty string) kind[string] {
	allowed := orZero("1 to 255 letters (a-z, A-Z), digits, dashes and underscores", `""`, empty)
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		return s, ok && (plainForm().MatchString(s) || s == "" && empty != "") || at.Want(v, allowed)
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

var credentialForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,254}$`) })

// secretPath takes the path of a file with a secret, which may be readable by tcpmux-forward alone,
// or "". No message shows the value, as it may be the secret itself. For that reason the name of a
// credential needs its prefix here: a token is a name too.
func secretPath() kind[string] {
	return fileOrCredential(`the absolute path of a file, "credential:NAME", or "" for none`, false)
}

// fileOrCredential takes the path of a file, a credential of systemd or, where that is bare, its
// name alone.
func fileOrCredential(allowed string, bare bool) kind[string] {
	read := func(v any, at place) (string, bool) {
		s, ok := v.(string)
		switch name, credential := strings.CutPrefix(s, credentialPrefix); {
		case ok && s == "" || (credential || bare) && credentialForm().MatchString(name):
			return s, true
		case credential:
			return "", at.Want(v, "the name of a credential of systemd: letters (a-z, A-Z), digits, dots, dashes and underscores")
		case !filepath.IsAbs(s) || isDirectory(s) || len(s) > maxPath || strings.ContainsFunc(s, unicode.IsControl):
			return "", at.Fault("is not allowed, and not shown as it may be secret: want %s", allowed)
		}
		return s, true
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}

// maxState leaves room for the name of a socket in the directory.
const maxState = maxSocketPath - len("/control")

// stateDirectory takes the path of a directory.
func stateDirectory() kind[string] {
	allowed := fmt.Sprintf("the absolute path of a directory, of at most %d bytes", maxState)
	read := func(v any, at place) (string, bool) {
		s, _ := v.(string)
		if !filepath.IsAbs(s) || filepath.Clean(s) == "/" || len(s) > maxState || strings.ContainsFunc(s, unicode.IsControl) {
			return "", at.Want(v, allowed+`, such as "/var/lib/tcpmux-forward"`)
		}
		return s, true
	}
	return kind[string]{allowed, read, document.QuoteTOML}
}
