package config

import "time"

// TLS is whether and how a listener's clients speak TLS.
type TLS struct {
	// Certificate is the file with the server's certificate and those that it was issued by, in
	// PEM, and Key is the file with its key, both in the form of SecretPath. Either both are set
	// or none; none means that clients speak clear text.
	Certificate, Key string
	// ClientCA is the file with the certificates that a client's must be signed by, in the form
	// of SecretPath; "" is for none.
	ClientCA string
	// ClientAuth is whether a client shows a certificate: "none", "request" (a client may have
	// none; one that it shows must be good) or "require". Without ClientCA it is "none".
	ClientAuth string
	// CRL is the file with lists of certificates that are revoked, in PEM or DER, in the form of
	// SecretPath; "" is for none.
	CRL string
	// MinVersion is the lowest version of TLS: "1.2" or "1.3".
	MinVersion string
	// HandshakeTimeout is how long a handshake may take.
	HandshakeTimeout time.Duration
	// Survive is whether clients outlive the process: "auto" (those that can), "require" (others
	// are refused) or "off".
	Survive string
	// AllowSubjects and DenySubjects are patterns of subjects of client certificates. One that
	// matches DenySubjects is refused, as is one that matches none of AllowSubjects, unless that
	// is empty. * stands for any text.
	AllowSubjects, DenySubjects []string
}

// On reports whether the listener's clients speak TLS.
func (t *TLS) On() bool { return t.Certificate != "" }
