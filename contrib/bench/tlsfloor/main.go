// Command tlsfloor is the floor of tls.py: crypto/tls and nothing else. It greets each client and
// appends what it sends to a file.
//
//	tlsfloor PORT FILE CERTIFICATE KEY
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: tlsfloor PORT FILE CERTIFICATE KEY")
		os.Exit(64)
	}
	err := serve(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	fmt.Fprintln(os.Stderr, "tlsfloor:", err)
	os.Exit(1)
}

// serve serves until something fails.
func serve(port, name, certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: true}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go record(tls.Server(c, config), out)
	}
}

// record greets a client and appends what it sends. A read returns one TLS record, that is a line
// if each is written by itself.
func record(c *tls.Conn, out io.Writer) {
	defer c.Close()
	if _, err := io.WriteString(c, "Welcome connect!\n"); err != nil {
		return
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				fmt.Fprintln(os.Stderr, "tlsfloor:", err)
				os.Exit(1)
			}
		}
		if err != nil {
			return
		}
	}
}
