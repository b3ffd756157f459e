package certs

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// The largest files that are read, in bytes. Revocation lists can be long.
const (
	maxPEM = 4 << 20
	maxCRL = 64 << 20
)

// read returns what is in a file of at most most bytes. It does not wait for a writer, as a pipe
// has one.
func (l *loaded) read(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, l.unreadable(path, err)
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, l.unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New(l.file(path, "is no regular file: name the file itself"))
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, l.unreadable(path, err)
	case int64(len(text)) > most:
		return nil, errors.New(l.file(path, "has more than %d MiB: is it the right one?", most>>20))
	}
	return text, nil
}

// unreadable says why a file cannot be read, and who may not do so.
func (l *loaded) unreadable(path string, err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	hint := ""
	if errors.Is(err, fs.ErrPermission) {
		hint = fmt.Sprintf(" (user %s, group %s): let that user read it (chown %[1]s, chmod 0400) and enter its directories, or have systemd read it: LoadCredential=NAME:%[3]s in the unit, and NAME here",
			userName(), groupName(), path)
	}
	return fmt.Errorf("file %q cannot be read: %w%s", path, err, hint)
}

// userName returns the name of the user whose process this is.
func userName() string {
	id := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

func groupName() string {
	id := strconv.Itoa(os.Getegid())
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// loadCertificates returns the certificates of a file.
func (l *loaded) loadCertificates(path string) ([]*x509.Certificate, error) {
	text, err := l.read(path, maxPEM)
	if err != nil {
		return nil, err
	}
	certs, fault := parseCertificates(text)
	if fault != "" {
		return nil, errors.New(l.file(path, "%s", fault))
	}
	return certs, nil
}

// parseCertificates returns the certificates of a text in PEM, at least one. Keys among them are
// passed over.
func parseCertificates(text []byte) (certs []*x509.Certificate, fault string) {
	for block := range blocks(text) {
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Sprintf("has a certificate, its number %d, that cannot be read: %q", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	if len(certs) > 0 {
		return certs, ""
	}
	if c, err := x509.ParseCertificate(text); err == nil {
		return nil, fmt.Sprintf("has the certificate %s in DER, want PEM: openssl x509 -inform DER -in FILE -out NEW", subject(c))
	}
	return nil, "has no certificate in PEM, want -----BEGIN CERTIFICATE-----" + found(text)
}

// blocks yields the blocks of a text in PEM.
func blocks(text []byte) func(yield func(*pem.Block) bool) {
	return func(yield func(*pem.Block) bool) {
		for {
			block, rest := pem.Decode(text)
			if block == nil || !yield(block) {
				return
			}
			text = rest
		}
	}
}

// found says what else is in a text.
func found(text []byte) string {
	if len(bytes.TrimSpace(text)) == 0 {
		return ": it is empty"
	}
	for block := range blocks(text) {
		return fmt.Sprintf(": it has %q", block.Type)
	}
	return ""
}

// loadKey returns the server's key.
func (l *loaded) loadKey() (crypto.Signer, error) {
	text, err := l.read(l.paths.key, maxPEM)
	if err != nil {
		return nil, err
	}
	key, fault := parseKey(text)
	if fault != "" {
		return nil, errors.New(l.file(l.paths.key, "%s", fault))
	}
	if info, err := os.Stat(l.paths.key); err == nil && info.Mode()&0o004 != 0 {
		l.problems = append(l.problems, l.file(l.paths.key, "has a key and can be read by everybody: chown %s, chmod 0400", userName()))
	}
	return key, nil
}

// parseKey returns the only key of a text in PEM. Certificates next to it are passed over.
func parseKey(text []byte) (key crypto.Signer, fault string) {
	for block := range blocks(text) {
		switch block.Type {
		case "CERTIFICATE", "X509 CERTIFICATE", "EC PARAMETERS", "DH PARAMETERS", "PUBLIC KEY":
			continue
		}
		k, fault := keyOf(block)
		switch {
		case fault != "":
			return nil, fault
		case key != nil:
			return nil, "has more than one key, want that of the certificate alone"
		}
		key = k
	}
	if key == nil {
		return nil, "has no key in PEM, want -----BEGIN PRIVATE KEY-----" + found(text)
	}
	return key, ""
}

// keyOf returns the key of a block.
func keyOf(block *pem.Block) (crypto.Signer, string) {
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, "has a key that a passphrase protects, want one without: openssl pkey -in FILE -out NEW, and let the daemon alone read it"
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Sprintf("has %q, want a key of RSA, ECDSA or Ed25519 as openssl genpkey writes it (PRIVATE KEY)", block.Type)
	}
	if err != nil {
		return nil, fmt.Sprintf("has a key that cannot be read: %q, want one of RSA, ECDSA or Ed25519", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Sprintf("has a key that cannot sign (%T), want one of RSA, ECDSA or Ed25519", key)
	}
	return signer, ""
}
