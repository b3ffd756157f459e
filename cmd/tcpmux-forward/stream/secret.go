package stream

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"tcpmux/config"
)

// secrets are what a connection authenticates with. They never become part of an error.
type secrets struct {
	options  []nats.Option
	warnings []string
}

// readSecrets reads the files that f names.
func readSecrets(f *config.Forward) (*secrets, error) {
	s := &secrets{}
	for _, step := range []func(*config.Forward) error{s.creds, s.nkey, s.token, s.user, s.tls} {
		if err := step(f); err != nil {
			return nil, &Error{Kind: Refused, Err: err}
		}
	}
	return s, nil
}

func (s *secrets) add(o nats.Option) { s.options = append(s.options, o) }

// read returns the content of the file that a key names. If secret is set, there is a warning when
// everybody can read it.
func (s *secrets) read(key, value string, secret bool) (path string, text []byte, err error) {
	if path, err = config.SecretPath(value); err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%s under [forward]: %w: tcpmux-forward must be able to read it", key, err)
	}
	if info, err := os.Stat(path); secret && err == nil && info.Mode().Perm()&0o004 != 0 {
		s.warnings = append(s.warnings, fmt.Sprintf("%s under [forward]: everybody can read %q: \"chmod o= FILE\" keeps it secret", key, path))
	}
	return path, text, nil
}

// line returns the only line of the file that a key names.
func (s *secrets) line(key, value string) (string, error) {
	path, text, err := s.read(key, value, true)
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(text), "\r\n")
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("%s under [forward]: %q must have one line, which is the %s", key, path, key)
	}
	return line, nil
}

func (s *secrets) creds(f *config.Forward) error {
	if f.Credentials == "" {
		return nil
	}
	path, text, err := s.read("credentials", f.Credentials, true)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), "NATS USER JWT") || !strings.Contains(string(text), "USER NKEY SEED") {
		return fmt.Errorf("credentials under [forward]: %q is no file as \"nsc generate creds\" writes it, "+
			"with a user's JWT and seed", path)
	}
	s.add(nats.UserCredentialBytes(text))
	return nil
}

func (s *secrets) nkey(f *config.Forward) error {
	if f.NKey == "" {
		return nil
	}
	path, _, err := s.read("nkey", f.NKey, true)
	if err != nil {
		return err
	}
	option, err := nats.NkeyOptionFromSeed(path)
	if err != nil { // which may quote the seed
		return fmt.Errorf("nkey under [forward]: %q has no seed of a user, which begins with SU (\"nsc generate nkey --user\")", path)
	}
	s.add(option)
	return nil
}

func (s *secrets) token(f *config.Forward) error {
	if f.Token == "" {
		return nil
	}
	token, err := s.line("token", f.Token)
	s.add(nats.Token(token))
	return err
}

func (s *secrets) user(f *config.Forward) error {
	if f.User == "" {
		return nil
	}
	user, err := s.line("user", f.User)
	if err != nil {
		return err
	}
	password, err := s.line("password", f.Password)
	s.add(nats.UserInfo(user, password))
	return err
}

// tls sets how to encrypt, if that is configured. The name in a server's certificate must be the
// one in its URL.
func (s *secrets) tls(f *config.Forward) error {
	if !f.TLS && f.CA == "" && f.Certificate == "" && !anyTLS(f.Servers) {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		path, text, err := s.read("ca", f.CA, false)
		if err != nil {
			return err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("ca under [forward]: %q has no certificate in PEM format", path)
		}
	}
	if f.Certificate != "" {
		pair, err := s.pair(f)
		if err != nil {
			return err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	s.add(nats.Secure(c))
	return nil
}

func (s *secrets) pair(f *config.Forward) (tls.Certificate, error) {
	path, cert, err := s.read("certificate", f.Certificate, false)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPath, key, err := s.read("key", f.Key, true)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("certificate and key under [forward]: %q and %q: %w", path, keyPath, err)
	}
	return pair, nil
}

func anyTLS(servers []string) bool {
	for _, s := range servers {
		if strings.HasPrefix(s, "tls://") || strings.HasPrefix(s, "wss://") {
			return true
		}
	}
	return false
}
