package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Forward is where tcpmux-forward delivers records to, and how. The daemon itself opens none of the
// files that are named here, and they may be readable by the user of tcpmux-forward alone.
type Forward struct {
	// Servers are URLs of NATS servers of one cluster, with host and port: nats://, tls://,
	// ws:// or wss://. Empty means that nothing is delivered.
	Servers []string
	// Subject is the subject of a message, with the placeholders {host}, {listener} and {kind},
	// each of them a whole token. {host} is there.
	Subject string
	// Host is what {host} stands for; "" is the machine's name.
	Host string
	// Stream is the name of the stream that stores the messages.
	Stream string
	// Create reports whether a stream that is missing is created. The fields down to Replicas
	// are for such a stream alone.
	Create bool
	// MaxBytes is the size in bytes that the stream may have.
	MaxBytes int64
	// MaxAge is how long the stream keeps a message; 0 means no limit.
	MaxAge time.Duration
	// Replicas is the number of servers that store the stream.
	Replicas int
	// Credentials, NKey, Token and User are files with what the client authenticates with, in
	// the form of SecretPath. At most one of them is set.
	Credentials, NKey, Token, User string
	// Password is the file with the password of User, and set with it alone.
	Password string
	// TLS reports whether the connection must be encrypted, also where the URL does not say so.
	TLS bool
	// CA is the file with the certificates that a server's must be signed by, in the form of
	// SecretPath; "" is for those of the system.
	CA string
	// Certificate and Key are the files with the client's certificate and its key, in the form
	// of SecretPath. Either both are set or none.
	Certificate, Key string
	// Domain is the JetStream domain of the stream; "" is for that of the server.
	Domain string
	// MaxInFlight is the number of messages that may wait for their acknowledgement.
	MaxInFlight int
	// Rate is the number of records that may be delivered per second; 0 means no limit.
	Rate int
	// Keep is how long retention keeps a file after its last record was acknowledged.
	Keep time.Duration
	// State is the absolute path of the directory with the state of tcpmux-forward.
	State string
	// Address is as that of Status, for tcpmux-forward's own metrics and health checks.
	Address []string
}

// On reports whether records are to be delivered.
func (f *Forward) On() bool { return len(f.Servers) > 0 }

// LoadForward is Load for tcpmux-forward, which runs as another user than the daemon. What only the
// daemon needs is not looked up: programs and users of exec, and files of rules.
func LoadForward(path string) (Config, error) { return loadFile(path, true) }

// RecordPaths returns the absolute path of each record file: that of [record] first, and then those
// of the listeners. None is there twice, and standard output is not.
func (c *Config) RecordPaths() (paths []string) {
	files := []string{c.Record.File}
	for _, l := range c.Listeners {
		files = append(files, l.File)
	}
	for _, file := range files {
		if file == "" || file == Stdout {
			continue
		}
		path, err := filepath.Abs(FilePath(file))
		if err != nil { // the working directory was removed
			path = FilePath(file)
		}
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// credentialPrefix begins the value of a key that names a credential of systemd.
const credentialPrefix = "credential:"

// SecretPath returns the path of the file that a value of Forward or TLS names: the value itself,
// or $CREDENTIALS_DIRECTORY/NAME for "credential:NAME" or NAME (systemd.exec(5), LoadCredential=).
// The error is that there is no such directory.
func SecretPath(value string) (string, error) {
	name, ok := strings.CutPrefix(value, credentialPrefix)
	if !ok && (value == "" || strings.Contains(value, "/")) {
		return value, nil
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", errors.New("$CREDENTIALS_DIRECTORY is not set: want LoadCredential=" + name + ":PATH in the service (systemctl edit), or the absolute path of a file")
	}
	return filepath.Join(dir, name), nil
}
