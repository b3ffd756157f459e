package cli

import (
	"fmt"
	"net"
	"strings"
)

// DefaultAddress is where a daemon without a configuration listens.
const DefaultAddress = "127.0.0.1:12345"

// unixScheme is what the address of a unix socket begins with.
const unixScheme = "unix:"

// maxUnixPath is how long the path of a unix socket may be (unix(7)).
const maxUnixPath = 107

// Address makes an address of what was given on the command line: host:port of nothing, HOST:PORT,
// or HOST and PORT; or unix:/path as it is. Without a host it is localhost; a port may be a
// service's name. The error is one line.
func Address(args []string) (string, error) {
	switch len(args) {
	case 0:
		return DefaultAddress, nil
	case 1:
		if path, ok := strings.CutPrefix(args[0], unixScheme); ok {
			return args[0], checkUnixPath(path)
		}
		host, port, err := net.SplitHostPort(args[0])
		if err != nil {
			return "", fmt.Errorf("address %q: want HOST:PORT, HOST PORT, or unix:/PATH; IPv6 as [::1]:12345", args[0])
		}
		return join(host, port)
	case 2:
		return join(strings.TrimSuffix(strings.TrimPrefix(args[0], "["), "]"), args[1])
	}
	return "", fmt.Errorf("%d arguments, want at most HOST and PORT", len(args))
}

func join(host, port string) (string, error) {
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return "", fmt.Errorf("port %q: want 1 to 65535 or the name of a service", port)
	}
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}

func checkUnixPath(path string) error {
	if path == "" || len(path) > maxUnixPath {
		return fmt.Errorf("address %q: want unix:/PATH, with a path of at most %d bytes", unixScheme+path, maxUnixPath)
	}
	return nil
}

// Network returns the network of an address that Address has made, and where in it that is, as
// package net wants them.
func Network(address string) (network, where string) {
	if path, ok := strings.CutPrefix(address, unixScheme); ok {
		return "unix", path
	}
	return "tcp", address
}

// Host returns the host of an address that Address has made; "" for a unix socket.
func Host(address string) string {
	if network, _ := Network(address); network == "unix" {
		return ""
	}
	host, _, _ := net.SplitHostPort(address) // Address has made it
	return host
}
