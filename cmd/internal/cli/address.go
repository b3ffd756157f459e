package cli

import (
	"fmt"
	"net"
	"strings"
)

// DefaultAddress is where a daemon without a configuration listens.
const DefaultAddress = "127.0.0.1:12345"

// Address makes host:port of what was given on the command line: nothing, HOST:PORT, or HOST and
// PORT. Without a host it is localhost; a port may be a service's name. The error is one line.
func Address(args []string) (string, error) {
	switch len(args) {
	case 0:
		return DefaultAddress, nil
	case 1:
		host, port, err := net.SplitHostPort(args[0])
		if err != nil {
			return "", fmt.Errorf("address %q: want HOST:PORT, or HOST PORT; IPv6 as [::1]:12345", args[0])
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
