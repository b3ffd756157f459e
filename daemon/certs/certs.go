// Package certs keeps the certificates, keys, authorities and revocation lists of TLS listeners. It
// loads the files of a listener as one set, and swaps a set whole: one with a fault leaves that
// before it in force.
package certs
