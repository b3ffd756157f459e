// Package api is what a running tcpmux-forward says of itself: plain values for JSON.
package api

import "time"

// The values of Status.State.
const (
	// Connecting: there is no connection, or the stream cannot be used yet. Why is in Error.
	Connecting = "connecting"
	// Delivering: records are being delivered.
	Delivering = "delivering"
	// Idle: all that is recorded is delivered.
	Idle = "idle"
	// Blocked: an administrator has to decide how to go on. What there is to decide is in
	// Error.
	Blocked = "blocked"
)

// Status is what there is to know of a forwarder.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	State   string    `json:"state"`
	// Since is when State became what it is.
	Since time.Time `json:"since"`
	// Server is the URL of the server that is connected, without credentials; "" if none is.
	Server        string `json:"server"`
	ServerVersion string `json:"server_version"`
	Stream        string `json:"stream"`
	// Host is the name of this machine in subjects.
	Host string `json:"host"`
	// Mode is how records are published: "atomic" or "chained"; "" before the first connection.
	Mode string `json:"mode"`
	// Sequence is that of the last message that was acknowledged.
	Sequence uint64 `json:"sequence"`
	// Records and Bytes were acknowledged since the start. Bytes are those of the record files.
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
	// Rate is the records acknowledged in the last ten seconds, for each second.
	Rate float64 `json:"rate"`
	Lag  Lag     `json:"lag"`
	// Acknowledged is when a record was acknowledged last.
	Acknowledged time.Time `json:"acknowledged,omitzero"`
	// Error is what is wrong now; "" if nothing is.
	Error string `json:"error"`
	// LastError is the last that was wrong, and LastErrorAt is when.
	LastError   string    `json:"last_error"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// Connects counts connections, and Failures attempts to connect or to publish that failed.
	Connects int64 `json:"connects"`
	Failures int64 `json:"failures"`
	// Rollbacks counts how often the stream had lost records that it had acknowledged. They
	// were delivered again.
	Rollbacks int64 `json:"rollbacks"`
	// Skipped counts lines of record files that are no records and were not delivered.
	Skipped int64  `json:"skipped"`
	Files   []File `json:"files"`
}

// Lag is what is recorded and not delivered.
type Lag struct {
	// Bytes are those of the record files, uncompressed.
	Bytes int64 `json:"bytes"`
	// Records is an estimate, from Bytes and the mean size of a record.
	Records int64 `json:"records"`
	// Seconds is the age of the oldest record that is not delivered; 0 if all are.
	Seconds float64 `json:"seconds"`
}

// File is how far a record file is delivered.
type File struct {
	// Path is the record file, and File is the one that it was rotated to in which the delivery
	// stands, or Path.
	Path   string `json:"path"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	// Lag is how many bytes of it, and of the files behind it, are not delivered.
	Lag   int64  `json:"lag"`
	Error string `json:"error"`
}
