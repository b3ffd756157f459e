package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
	"unicode"
)

const (
	// maxService is how long the name of a service may be.
	maxService = 254
	// maxReply bounds the line that a server answers with.
	maxReply = 1 << 10
)

// CheckService reports what is wrong with the name of a service.
func CheckService(name string) error {
	if name == "" || len(name) > maxService || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%q: want the name of a service, of at most %d bytes and without control characters", name, maxService)
	}
	return nil
}

// IsHelp reports whether the name asks for the list of services (RFC 1078), in any letter case.
func IsHelp(name string) bool { return strings.EqualFold(name, "HELP") }

// ask asks a server for one of its services (RFC 1078): the error says why it is not given. It
// takes the reply and nothing behind it; that to HELP is left for others to read. The error is that
// of ctx if that ends first: the connection is of no use then.
func ask(ctx context.Context, conn net.Conn, name string) (err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() { // the deadline is set, or will be
			err = ctx.Err()
		}
	}()
	if _, err := io.WriteString(conn, name+"\r\n"); err != nil {
		return fmt.Errorf("service %q: %w", name, cause(err))
	}
	if IsHelp(name) {
		return nil
	}
	reply, err := readReply(conn)
	shown := string(appendEscaped(nil, []byte(strings.TrimSuffix(reply, "\r"))))
	switch {
	case err == nil && strings.HasPrefix(shown, "+"):
		return nil
	case err == nil && shown == "-":
		return fmt.Errorf("service %q: the server refuses it", name)
	case err == nil && shown != "" && shown[0] == '-':
		return fmt.Errorf("service %q: the server refuses it: %s", name, shown[1:])
	case errors.Is(err, io.EOF) && reply == "":
		return fmt.Errorf("service %q: the server has closed without a reply", name)
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("service %q: the server does not speak TCPMUX: it replies \"%s\", want + or -", name, shown)
	}
	return fmt.Errorf("service %q: %w", name, cause(err))
}

// readReply reads a line, without its newline, and nothing behind it.
func readReply(r io.Reader) (string, error) {
	var line []byte
	var one [1]byte
	for len(line) < maxReply {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return string(line), err
		}
		if one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[0])
	}
	return "", fmt.Errorf("the reply is longer than %d bytes", maxReply)
}
