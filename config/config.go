// Package config reads /etc/tcpmux.toml and its drop-ins strictly. A Config that it returns without
// an error can be served: every key is known, in range and free of contradictions. Of files with
// errors it reports all of them at once, each with its place.
//
// All it touches is these files, and what they name: programs, users and rules are looked up.
package config

import (
	"net/netip"
	"slices"
	"time"
)

// DefaultPath is the file that the daemon reads unless it is given another.
const DefaultPath = "/etc/tcpmux.toml"

// MainListener is the name of the listener that the top-level keys describe.
const MainListener = "tcpmux"

// Config is a whole configuration. It is not changed after Load, so any goroutine may read it. The
// defaults of its values are those of Keys.
type Config struct {
	// Path is the file that was read; "" for the built-in defaults.
	Path string
	// DropIns are the files that were read for more listeners, in their order.
	DropIns []string
	// Fingerprint tells the text of these files from any other; see FingerprintOf. It is "" if
	// the Config is not from files.
	Fingerprint string
	// Listeners are the listeners to serve. The first is that of the top-level keys, under the
	// name MainListener, unless the file has address = [] and a [[listener]]. Those of
	// [[listener]] tables follow in the order of the file, and then those of the drop-ins.
	Listeners []Listener
	// DrainTimeout is how long clients may stay after SIGTERM; 0 closes them at once.
	DrainTimeout time.Duration
	// Survive reports whether the next process continues to serve connected clients after a
	// restart, an upgrade or a crash. It needs a service manager that stores descriptors.
	Survive bool
	// SurviveAfter is how long a client must have been connected to survive a crash; 0 is for
	// all.
	SurviveAfter time.Duration
	// Control is the path of a control socket that the daemon makes itself; "" is for none, so
	// that there is only the one that the service manager passes in.
	Control string
	Record  Record
	Log     Log
	Status  Status
	Forward Forward
	Limits  Limits
	// Warnings are about what is allowed but most likely a mistake, one line each, in the form
	// of a Fault. They are set for a file with errors too.
	Warnings []string
}

// Listener is a set of addresses, and how their clients are served.
type Listener struct {
	// Name stands in logs, in records and in FileDescriptorName=.
	Name string
	// Source is the file that the listener stands in: Path or one of DropIns of the Config. It
	// is "" for the built-in default. WriteTOML does not write it.
	Source string
	// Address is at least one IP address with a port, in the notation of netip.AddrPort, or
	// UnixScheme and the path of a unix socket, for one socket each. Load turns ":1" into
	// "0.0.0.0:1" and "[::]:1", and localhost into 127.0.0.1. The addresses of all listeners
	// can be bound together if IPv6 sockets have IPV6_V6ONLY (ipv6(7)). With port 0 the kernel
	// picks a port. It is empty for a listener that clients reach through those of MuxedBy
	// alone.
	Address []string
	// Mode is the permission bits of unix sockets, and Group the group that has them; "" is
	// that of the process that makes the socket.
	Mode  uint32
	Group string
	// Mux are the names of the listeners of which a client names the one that is to serve it
	// (RFC 1078). No two differ in case alone, and none has a Mux. Empty is for a listener that
	// serves its clients itself.
	Mux []string
	// MuxedBy are the names of the listeners whose Mux has this one, in their order. It follows
	// from the others, and WriteTOML does not write it.
	MuxedBy []string
	// Backlog is that of listen(2): connections that wait in the kernel. The kernel caps it at
	// net.core.somaxconn.
	Backlog int
	// Banner is sent to each client, with placeholders replaced.
	Banner Bytes
	// Model is what serves a client: its own "goroutine", "thread" or "process".
	Model string
	// ClientsPerProcess is the number of clients that a process of the model "process" serves,
	// one after another, before it ends.
	ClientsPerProcess int
	// Framing is how bytes become messages: "line", "nul", "chunk", "octet-counted" (RFC 6587),
	// "length-prefixed", "delimited", "fixed" or "silence". The fields down to LengthAdjust
	// describe one of them; with another framing they have their defaults.
	Framing string
	// Delimiter are the byte strings of which each ends a message of delimited framing: at
	// least one, none of them empty, and none there twice.
	Delimiter []Bytes
	// Start is what a message of delimited framing begins with; empty means nothing.
	Start Bytes
	// MessageSize is the size in bytes of a message of fixed framing.
	MessageSize int
	// Silence is how long nothing comes after a message of silence framing.
	Silence time.Duration
	// LengthSize is the size in bytes of the length field of length-prefixed framing.
	LengthSize int
	// LengthOrder is the byte order of the length field: "big" or "little".
	LengthOrder string
	// LengthOffset is the number of bytes in front of the length field.
	LengthOffset int
	// LengthAdjust is added to the length to get the number of bytes that follow its field.
	LengthAdjust int
	// MaxMessage is the size in bytes of the longest message that is recorded in one piece.
	MaxMessage int64
	// IdleTimeout is how long a client may send nothing; 0 means no timeout.
	IdleTimeout time.Duration
	// LostTimeout is how long the TCP of a client may give no sign of life. It is in whole
	// seconds.
	LostTimeout time.Duration
	// Ack is sent to a client for each message that was recorded (with SyncAlways: that is on
	// disk), with placeholders replaced. Empty means none.
	Ack Bytes
	// AckTimeout is how long a client may accept no acknowledgement; 0 means no timeout.
	AckTimeout time.Duration
	// Service is what clients are served with: one of ServiceRecord and the constants next to
	// it. It goes with the other keys: with Exec it is ServiceExec.
	Service string
	// Proxy is what clients are connected with, with ServiceProxy.
	Proxy Proxy
	// Record reports whether what clients send is recorded. It is true with ServiceRecord.
	Record bool
	// File is the path of the listener's own record file, relative as Record.File; "" means
	// that of Record. No two files of a configuration are the same. The main listener has none.
	File string
	// Exec is a program and its arguments, run for each client with the connection as standard
	// input and output. The path is absolute; when the file was read, somebody could execute
	// it. Empty means no program. With a program, Model is "goroutine".
	Exec []string
	// ExecUser is the user that the program runs as; "" is the daemon's. It existed when the
	// file was read.
	ExecUser string
	// ExecTimeout is how long a program may run; 0 means no timeout.
	ExecTimeout time.Duration
	// ExecMemory is the address space in bytes that each process of a program may have
	// (RLIMIT_AS, setrlimit(2)); 0 means no limit.
	ExecMemory int64
	// ProxyProtocol are the proxies whose connections must begin with a PROXY header. Others
	// are refused. Empty means that no header is expected.
	ProxyProtocol []netip.Prefix
	// TLS is how the clients speak TLS, if they do.
	TLS TLS
	// Limits are those of this listener.
	Limits ListenerLimits
}

// Record is where and how records are written.
type Record struct {
	// File is the path of the record file, or Stdout. A relative path is below $LOGS_DIRECTORY,
	// or below the working directory where that is not set.
	File string
	// Format is "text" or "json".
	Format string
	// Sync is how long after it was written a record is on disk at the latest (fdatasync(2)),
	// or SyncAlways or SyncNone.
	Sync time.Duration
	// MinFree is the number of bytes to leave free on the file system. With fewer, clients
	// wait.
	MinFree int64
	// Mode is the permission bits of a file that the daemon creates.
	Mode uint32
	// MaxSize is the size in bytes beyond which a file is rotated. It is enough for the longest
	// record that any listener can have.
	MaxSize int64
	// Rotate is how long a file may be written, by the local clock: "hourly", "daily", "weekly"
	// (until Monday), or "" for no limit.
	Rotate string
	// MaxBackups is the number of rotated files to keep; 0 keeps all.
	MaxBackups int
	// MaxAge is how long rotated files are kept, in whole days; 0 keeps all.
	MaxAge time.Duration
	// Compress reports whether rotated files are compressed with gzip.
	Compress bool
	// Events is which sessions have their begin and end recorded too.
	Events Events
}

// Stdout is the value of Record.File for standard output.
const Stdout = "-"

// Events is which sessions have their begin and end recorded. The zero value is NoEvents.
type Events int32

// The values of Record.Events.
const (
	NoEvents Events = iota
	AllEvents
	// EventsOnData is those whose client has sent something that is recorded.
	EventsOnData
)

// The values of Record.Sync that are not a duration.
const (
	// SyncAlways is before the daemon reads on from the record's client.
	SyncAlways time.Duration = 0
	// SyncNone leaves it to the kernel.
	SyncNone time.Duration = -1
)

// Log is where the daemon logs what it does.
type Log struct {
	// File is the path of the log file, rotated as Record says; "" is standard error.
	File string
	// Level is "debug", "info", "warn" or "error".
	Level string
}

// Status is where the status page is.
type Status struct {
	// Address is as that of a Listener, and empty for none.
	Address []string
}

// Default returns the configuration of an empty file.
func Default() Config {
	c := Config{Listeners: []Listener{{Name: MainListener, Service: ServiceRecord, Record: true}}}
	main := &c.Listeners[0]
	for _, k := range keys() {
		if k.Top {
			k.value.reset(topTarget(&c, main))
		}
	}
	main.Limits.Policy = c.Limits.Policy
	main.Address = slices.Clone(main.Address) // the caller may change it
	return c
}
