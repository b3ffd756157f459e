// Package record is the format of records: it encodes messages of clients and parses what it has
// encoded. A record is one line, whatever a client sent, and the exact bytes can be recovered from
// it. The package takes plain values: it uses neither files nor the configuration.
package record

import "fmt"

// Format is the format of records.
type Format uint8

const (
	// Text writes lines such as `TIME from ADDR: DATA`.
	Text Format = iota
	// JSON writes one object per line.
	JSON
)

// ParseFormat returns the format with the given name: "text" or "json".
func ParseFormat(name string) (Format, error) {
	switch name {
	case "text":
		return Text, nil
	case "json":
		return JSON, nil
	}
	return 0, fmt.Errorf("record format %q: want text or json", name)
}

// Source is where records come from. It does not change once records were made from it.
type Source struct {
	// Listener is the name of the listener: printable ASCII without quotes or backslashes.
	Listener string
	// Session is the name of the session, which is unique across restarts: printable ASCII
	// without quotes or backslashes.
	Session string
	// Remote is the client's address, host:port.
	Remote string
	// Proxy is the address of the proxy that named the client, host:port; "" if there was no
	// proxy.
	Proxy string
	// Mux is the name of the listener at which the client has named Listener (RFC 1078); "" if
	// there was none. It is as Listener is.
	Mux string
	// TLS is what is known of the client's TLS; nil if it speaks clear text.
	TLS *TLS
}

// TLS is what a handshake has found out about a client. ServerName and Subject are the client's
// words: any bytes, but no more than Bounded leaves.
type TLS struct {
	// Version is "1.2" or "1.3".
	Version string
	// Cipher is the IANA name of the cipher suite.
	Cipher string
	// ServerName is the name that the client wants to reach (SNI); "" if it has not said.
	ServerName string
	// Subject is the distinguished name in the client's certificate (RFC 4514); "" if it has
	// shown none.
	Subject string
}
