package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tcpmux/daemon/delivery"
)

// Kind is what can be done about an error.
type Kind int

const (
	// Outage passes: wait, and try again.
	Outage Kind = iota
	// Stale reports that somebody else has published as this machine: look again at once.
	Stale
	// Refused needs a person. The text names the next step.
	Refused
)

// Error is what all functions of this package return, except when their context has ended.
type Error struct {
	Kind Kind
	Err  error
	// Key is that of the record file with a record that cannot be published, and else "".
	Key delivery.Key
}

// Error returns the text of the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func outage(format string, args ...any) error {
	return &Error{Kind: Outage, Err: fmt.Errorf(format, args...)}
}

func stale(format string, args ...any) error {
	return &Error{Kind: Stale, Err: fmt.Errorf(format, args...)}
}

func refused(format string, args ...any) error {
	return &Error{Kind: Refused, Err: fmt.Errorf(format, args...)}
}

// hostile is an error whose text a server or another peer has made: it is quoted and bounded.
type hostile struct{ err error }

// Error returns the text, quoted and bounded.
func (h hostile) Error() string { return fmt.Sprintf("%.300q", h.err.Error()) }

// Unwrap returns the error itself, whose text is not safe to show.
func (h hostile) Unwrap() error { return h.err }

// dialError returns what an attempt to connect has failed with.
func dialError(servers []string, err error) error {
	err = &named{what: fmt.Sprintf("connect to %q", servers), err: hostile{err}}
	var remote *net.OpError
	switch {
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthRevoked),
		errors.Is(err, nats.ErrAccountAuthExpired), mentions(err, "authorization violation", "authentication", "nkeys"):
		return refused("%w: the server does not accept what credentials, nkey, token, or user and password under [forward] hold", err)
	case isCertificate(err):
		return refused("%w: ca under [forward] must be the file of whoever has signed the server's certificate, which must be for the name in servers and not expired", err)
	case errors.As(err, &remote) && remote.Op == "remote error", mentions(err, "certificate required", "bad certificate", "after tls handshake"):
		return refused("%w: the server does not accept the certificate and key under [forward], or none are set", err)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return refused("%w: the server has no TLS, which tls, ca or certificate under [forward] ask for", err)
	case errors.Is(err, nats.ErrNoServers):
		return outage("%w: no server answers", err)
	}
	return &Error{Kind: Outage, Err: err}
}

// named is an error and what was done when it came up.
type named struct {
	what string
	err  error
}

// Error returns what was done, and the text of the cause.
func (n *named) Error() string { return n.what + ": " + n.err.Error() }

// Unwrap returns the cause.
func (n *named) Unwrap() error { return n.err }

func isCertificate(err error) bool {
	var v *tls.CertificateVerificationError
	return errors.As(err, &v) || mentions(err, "x509: ")
}

func mentions(err error, words ...string) bool {
	text := strings.ToLower(err.Error())
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// asyncError returns what a server has reported outside of an answer.
func asyncError(err error) error {
	err = &named{what: "connection to NATS", err: hostile{err}}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return refused("%w: the user needs the permissions to publish to the subjects of records and to $JS.API.>, and to subscribe to _INBOX.>", err)
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAuthorization),
		errors.Is(err, nats.ErrAccountAuthExpired):
		// The file may have newer ones already: the next connection tells.
		return outage("%w: the credentials have expired or were revoked", err)
	}
	return &Error{Kind: Outage, Err: err}
}

// codes are errors of JetStream and what they mean. What is not listed is an outage.
var codes = map[jetstream.ErrorCode]struct {
	kind Kind
	hint string
}{
	10071: {Stale, "somebody else has published"}, // wrong last sequence
	10164: {Stale, "somebody else has published"}, // the same, without the sequence
	10070: {Stale, "somebody else has published"}, // wrong last message id
	10047: {Outage, "the disk of the server, or its limit, is full; a new stream reserves its max_bytes"},
	10023: {Outage, "the server has not enough resources, or is full"},
	10028: {Outage, "the server has not enough memory"},
	10077: {Outage, "the server cannot store messages"},
	10002: {Outage, "the account has no more storage: raise its limits, or remove messages"},
	10122: {Refused, "lower max_bytes under [forward], or raise the limits of the account"},
	10027: {Refused, "the account may not have more streams: remove one, or raise its limits"},
	10120: {Refused, "the account has no limits for streams of so many replicas"},
	10059: {Refused, "somebody has removed the stream"},
	10109: {Refused, "the stream is sealed: choose another one by stream under [forward]"},
	10039: {Refused, "enable JetStream for the account of these credentials"},
	10076: {Refused, "enable JetStream in the server, or set domain under [forward] to that of servers that have it"},
	10065: {Refused, "another stream has some of these subjects: remove it, or choose another template by subject under [forward]"},
	10060: {Refused, "another stream has these subjects now"},
	10054: {Refused, "raise max_msg_size of the stream"},
	10097: {Refused, "the headers of the message are too large"},
	10174: {Outage, "atomic batches have been turned off for the stream"},
}

// apiError returns what an error in an answer of JetStream means.
func apiError(what string, e *jetstream.APIError) error {
	err := fmt.Errorf("%s: %w", what, hostile{e})
	if strings.Contains(e.Description, "maximum bytes exceeded") || strings.Contains(e.Description, "maximum messages exceeded") {
		return outage("%w: the stream is full: raise max_bytes or max_msgs of the stream, or remove messages from it", err)
	}
	c, ok := codes[e.ErrorCode]
	if !ok {
		return &Error{Kind: Outage, Err: err}
	}
	return &Error{Kind: c.kind, Err: fmt.Errorf("%w: %s", err, c.hint)}
}

// requestError returns why a request has no answer.
func requestError(what string, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return outage("%s: nobody answers: JetStream has no leader for it now, or is not enabled in the server or in its domain", what)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return outage("%s: no answer in time", what)
	case errors.Is(err, context.Canceled):
		return outage("%s: the connection was lost", what)
	}
	return outage("%s: %w", what, hostile{err})
}
