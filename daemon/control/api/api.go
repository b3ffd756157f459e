// Package api is what the daemon and its console say to each other over the control socket: plain
// values that encoding/json writes and reads. tcpmux-control(7) documents them; a field that is
// there once keeps its name and its meaning, and others may be added.
//
// Times are RFC 3339 with the daemon's clock; a zero time means never. Sizes are bytes, durations
// are seconds.
package api

import "time"

// Version is the first element of the paths of JSON resources: /v1/status.
const Version = "v1"

// Status is what the daemon is doing (GET /v1/status).
type Status struct {
	Version   string     `json:"version"`
	PID       int        `json:"pid"`
	Started   time.Time  `json:"started"`
	Now       time.Time  `json:"now"`
	Phase     string     `json:"phase"` // serving, leaving or draining
	Config    Config     `json:"config"`
	Survive   Survive    `json:"survive"`
	TLS       TLSClients `json:"tls"`
	Clients   int        `json:"clients"`
	Limit     int        `json:"limit"` // of clients at once
	Listeners []Listener `json:"listeners"`
	Files     []File     `json:"files"`
	// Problems are in plain words, the worst first; none: all is well.
	Problems []string `json:"problems"`
	// Unready are the reasons why /readyz is 503; none: it is 200.
	Unready []string `json:"unready"`
}

// Config is the configuration in force.
type Config struct {
	File   string    `json:"file"`   // "": the built-in defaults
	Loaded time.Time `json:"loaded"` // when it came into force
	// Differs reports that the files were changed since, could not be loaded, or need a
	// restart.
	Differs bool     `json:"differs"`
	Faults  []string `json:"faults"` // of the last reload
	Reloads int      `json:"reloads"`
}

// Survive is which clients go on with the next process.
type Survive struct {
	On      bool `json:"on"`      // clients outlive restarts and crashes
	Clients int  `json:"clients"` // that would outlive a crash now
}

// TLSClients are those clients that speak TLS.
type TLSClients struct {
	Clients int `json:"clients"` // that have made their handshake
	Kernel  int `json:"kernel"`  // of these, those whose TLS the kernel does
	Survive int `json:"survive"` // and those that would outlive a crash now
}

// Counts are totals since the process started.
type Counts struct {
	Visits  int64 `json:"visits"`  // sessions that have begun, those of the process before included
	Silent  int64 `json:"silent"`  // sessions that have ended without data
	Records int64 `json:"records"` // messages that were recorded
	Bytes   int64 `json:"bytes"`   // of recorded messages, with what frames them
	Acks    int64 `json:"acks"`
	// Refused counts refused clients by reason.
	Refused map[string]int64 `json:"refused"`
}

// Rates are averages over the last ten seconds, a second.
type Rates struct {
	Visits  float64 `json:"visits"`
	Records float64 `json:"records"`
	Bytes   float64 `json:"bytes"`
}

// Listener is a listener of the configuration.
type Listener struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	From      string   `json:"from"` // the file that configures it
	Model     string   `json:"model"`
	Framing   string   `json:"framing"`
	Service   string   `json:"service"`   // as the configuration has it: record, exec, mux and others
	Mux       []string `json:"mux"`       // of a mux: the listeners that its clients may name
	MuxedBy   []string `json:"muxed_by"`  // the muxes whose clients may name it
	Upstreams []string `json:"upstreams"` // of a proxy: the servers that it connects clients with
	File      string   `json:"file"`      // where its records go
	Clients   int      `json:"clients"`
	Limit     int      `json:"limit"`    // 0: that of all listeners
	Draining  bool     `json:"draining"` // new clients are refused
	Fault     string   `json:"fault"`    // why it is not served; "": it is
	Counts    Counts   `json:"counts"`
	Rates     Rates    `json:"rates"`
	// TLS is how its clients speak TLS; nil is for clear text.
	TLS *ListenerTLS `json:"tls"`
}

// ListenerTLS is how a listener's clients speak TLS, and the state of its certificates.
type ListenerTLS struct {
	Ends     string    `json:"ends"`     // why clients end with the process; "": those with TLS 1.3 do not
	Expires  time.Time `json:"expires"`  // the first certificate of the server's chain
	Loaded   time.Time `json:"loaded"`   // when the files in force were
	Failures int64     `json:"failures"` // loads of the files that have failed
	Fault    string    `json:"fault"`    // why the files are not those in force; "": they are
}

// File is a record file and the sink in front of it.
type File struct {
	Path     string    `json:"path"`     // "-": standard output
	Listener string    `json:"listener"` // whose own it is; "": that of all others
	Format   string    `json:"format"`
	Size     int64     `json:"size"`
	Free     int64     `json:"free"` // on its file system; -1: unknown
	MinFree  int64     `json:"min_free"`
	Failing  bool      `json:"failing"` // records cannot be written, clients wait
	Error    string    `json:"error"`   // of the last write, while it fails
	Since    time.Time `json:"since"`   // when that began
	Written  time.Time `json:"written"` // the last write
	Synced   time.Time `json:"synced"`  // the last sync
	Waiting  int64     `json:"waiting"` // bytes that wait to be written
	// Overdue is how many rotated files stay only until they are delivered, and OverdueBytes is
	// their size.
	Overdue      int64    `json:"overdue"`
	OverdueBytes int64    `json:"overdue_bytes"`
	Troubles     []string `json:"troubles"` // what fails although records are written
}

// Session is one client (GET /v1/sessions).
type Session struct {
	ID       string    `json:"id"`
	Listener string    `json:"listener"`
	Remote   string    `json:"remote"`
	Proxy    string    `json:"proxy"`    // "": none
	Mux      string    `json:"mux"`      // the listener at which the client has named this one; "": none
	Upstream string    `json:"upstream"` // what a proxy has connected the client with; "": nothing
	Model    string    `json:"model"`
	Phase    string    `json:"phase"` // serving, draining, leaving or over
	State    string    `json:"state"` // what it waits for, such as "client" or "sink"
	Opened   time.Time `json:"opened"`
	Heard    time.Time `json:"heard"` // when a message was last recorded
	Records  int64     `json:"records"`
	Bytes    int64     `json:"bytes"`
	Unread   int64     `json:"unread"`   // bytes that wait in the kernel
	Survives bool      `json:"survives"` // a crash

	TLS *SessionTLS `json:"tls"` // nil: the client speaks clear text, or has not made its handshake
}

// TLS is what a handshake has found out about a client. SNI and Subject are the client's words; of
// these, bytes that are not UTF-8 are U+FFFD.
type TLS struct {
	Version string `json:"version"` // 1.2 or 1.3
	Cipher  string `json:"cipher"`
	SNI     string `json:"sni"`     // "": the client has named no server
	Subject string `json:"subject"` // of the client's certificate; "": it has shown none
}

// SessionTLS is TLS, and who encrypts and decrypts.
type SessionTLS struct {
	TLS
	Kernel bool   `json:"kernel"` // the kernel does
	Reason string `json:"reason"` // why it does not
}

// Sessions is an answer with several of them.
type Sessions struct {
	Sessions []Session `json:"sessions"`
	Total    int       `json:"total"` // that the filter matches, also beyond its limit
}

// Detail is all about one session (GET /v1/sessions/ID).
type Detail struct {
	Session
	Local   string `json:"local"`
	Framing string `json:"framing"`
	// Partial is how many bytes of a message have come that has not ended.
	Partial int64 `json:"partial"`
	TCP     *TCP  `json:"tcp"` // nil: unknown
}

// TCP is what the kernel knows of a connection (tcp(7), TCP_INFO).
type TCP struct {
	State         string  `json:"state"`
	RTT           float64 `json:"rtt"`     // seconds
	RTTVariance   float64 `json:"rtt_var"` // seconds
	Retransmits   int64   `json:"retransmits"`
	SendWindow    int64   `json:"send_window"`
	ReceiveWindow int64   `json:"receive_window"`
	Unacked       int64   `json:"unacked"` // segments that the client has not acknowledged
	Received      int64   `json:"received"`
	Sent          int64   `json:"sent"`
}

// Record is one record of a tail (GET /v1/tail), or what the reader missed.
type Record struct {
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"` // message, open, close, missed or restart
	Listener string    `json:"listener"`
	Session  string    `json:"session"`
	Remote   string    `json:"remote"`
	Proxy    string    `json:"proxy,omitempty"`
	Mux      string    `json:"mux,omitempty"`
	TLS      *TLS      `json:"tls,omitempty"`     // of an opening or a closing
	Subject  string    `json:"subject,omitempty"` // of a message: that of the client's certificate
	Data     []byte    `json:"data,omitempty"`    // the message, as base64
	Flag     string    `json:"flag,omitempty"`    // why the message is not whole
	Reason   string    `json:"reason,omitempty"`
	Records  int64     `json:"records,omitempty"` // of a closed session, or how many were missed
	Bytes    int64     `json:"bytes,omitempty"`
}

// Kinds of a Record that no session has caused.
const (
	// KindMissed says how many records the reader was too slow for.
	KindMissed = "missed"
	// KindRestart is the last line of a tail when the daemon leaves or ends.
	KindRestart = "restart"
)

// Filter selects sessions. The zero value selects all.
type Filter struct {
	ID       string  // exactly this one
	Listener string  // its name
	Source   string  // an address or a prefix, of the client
	Idle     float64 // nothing heard for so many seconds
	MinBytes int64
	Sort     string // opened (the default), heard, bytes, records or remote; "-" in front reverses
	Limit    int    // 0: all
}

// Killed is the answer to DELETE.
type Killed struct {
	Killed int `json:"killed"`
}

// Drained is the answer to POST /v1/listeners/NAME/drain and undrain.
type Drained struct {
	Listener string `json:"listener"`
	Draining bool   `json:"draining"`
	Clients  int    `json:"clients"` // that are still there
}

// Reloaded is the answer to POST /v1/reload.
type Reloaded struct {
	Faults  []string `json:"faults"` // nothing has changed
	Changes []Change `json:"changes"`
}

// Change is a setting that a reload has changed.
type Change struct {
	Key    string `json:"key"`
	From   string `json:"from"`
	To     string `json:"to"`
	Effect string `json:"effect"`
}

// Rotated is the answer to POST /v1/rotate.
type Rotated struct {
	Files []string `json:"files"`
}

// Error is the answer to a request that failed.
type Error struct {
	Error string `json:"error"`
}
