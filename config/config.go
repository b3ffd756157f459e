// Package config reads /etc/tcpmux.toml. It promises that a Config it returns without an error can be served: every key is
// known, in range and free of contradiction; and that a faulty file is told about whole, every fault at once with its place.
// It imports nothing of ours and touches nothing but the file it is given; it looks up the programs and users that this names, and
// reads its rules, unless it is asked early.
package config

import (
	"net/netip"
	"slices"
	"time"
)

// DefaultPath is where the daemon looks when it is not told another file.
const DefaultPath = "/etc/tcpmux.toml"

// MainListener is the name of the listener that the top-level keys describe.
const MainListener = "tcpmux"

// Config is a whole configuration. It is not changed after Load, so it may be read from any goroutine.
type Config struct {
	// Path is the file the configuration was read from; "" for the built-in defaults.
	Path string
	// Listeners are the listeners to serve: the one of the top-level keys first, under the name MainListener (left out when
	// address = [] and there is at least one [[listener]]), then one for each [[listener]] in the order of the file.
	Listeners []Listener
	// DrainTimeout is how long clients may go on after SIGTERM before they are closed: 1 ms or more. Default 10s; 0 closes them at once.
	DrainTimeout time.Duration
	// Survive says whether clients that are connected go on with the next process after a restart, an upgrade or a crash. It
	// needs a service manager that stores descriptors. Default true.
	Survive bool
	// SurviveAfter is how long a client has been there before it survives a crash, 1 ms or more; 0: from the first moment.
	// Default 1s.
	SurviveAfter time.Duration
	Record       Record
	Log          Log
	Limits       Limits
	// Warnings are what is legal and yet most likely a mistake, one line each, in the form of a fault. A file with faults has them too.
	Warnings []string
}

// Listener is one named service: its addresses and how their clients are served.
type Listener struct {
	// Name is what the listener is called in logs, records and FileDescriptorName=.
	Name string
	// Address are pairs of an IP address and a port in the spelling of netip.AddrPort, at least one, for a socket each. Load
	// has made ":1" of a file into "0.0.0.0:1" and "[::]:1", and localhost into 127.0.0.1. All of them, over all listeners,
	// can be bound at once if those of IPv6 are IPV6_V6ONLY (ipv6(7)). Port 0 has the kernel pick one. Default 127.0.0.1:12345.
	Address []string
	// Backlog is listen(2)'s: connections that the kernel keeps for us. 1 to 1,000,000; default 4096. The kernel caps it at
	// net.core.somaxconn.
	Backlog int
	// Banner is sent to each client as written, placeholders filled in, at most 4 KiB. None sends none. Default "Welcome connect!\r\n".
	Banner Bytes
	// Model is how a client is served: by a "goroutine", a "thread" or a "process" of its own.
	Model string
	// ClientsPerProcess is how many clients a process of the model "process" serves, one after another, before it ends.
	// Default 100; 1 gives each client a new one.
	ClientsPerProcess int
	// Framing is how bytes become messages: "line", "nul", "chunk", "octet-counted" (RFC 6587) or "length-prefixed". Default line.
	Framing string
	// LengthSize is how many bytes of length-prefixed framing tell how long a message is: 1, 2 or 4. Default 4, also where the
	// framing is another: Load refuses to be told what would have no effect.
	LengthSize int
	// LengthOrder is the order of these bytes: "big" or "little". Default big, as LengthSize.
	LengthOrder string
	// MaxMessage is the longest message in bytes that is recorded in one piece, 1 to 16 MiB. Default 64 KiB.
	MaxMessage int64
	// IdleTimeout is how long a client may send nothing before it is closed: 1 ms or more. Default 0: for ever.
	IdleTimeout time.Duration
	// LostTimeout is how long a client that has vanished is kept, 10 s to 2 h: one of which there is no sign, not even that of its
	// TCP. Default 2m.
	LostTimeout time.Duration
	// Ack is sent to a client for each of its messages once that is recorded, and with Sync SyncAlways on disk; placeholders are
	// filled in, at most 1 KiB. Default none.
	Ack Bytes
	// AckTimeout is how long a client may take no acknowledgement that waits for it before it is closed: 1 ms or more; 0: for ever.
	// Default 30 s.
	AckTimeout time.Duration
	// Record says whether what clients send is recorded: always without Exec, and with it when the listener's table says so.
	Record bool
	// Exec is a program and its arguments, to be run for each client with the connection as its standard input and output. The
	// program is an absolute path; when the file was read, it was a file that somebody may execute. Empty: clients are recorded, and
	// no program is run. With a program Model is "goroutine", and Banner is "" unless the same table has one.
	Exec []string
	// ExecUser is the user whose program it is; "" for the daemon's own. It was known when the file was read. Default "".
	ExecUser string
	// ExecTimeout is how long a program may run: 1 ms or more. Default 0: for ever.
	ExecTimeout time.Duration
	// ExecMemory is the address space in bytes that each process of a program may have, 1 MiB or more (RLIMIT_AS, setrlimit(2)).
	// Default 0: no limit.
	ExecMemory int64
	// ProxyProtocol are proxies: from them a PROXY header is required, which says whom they speak for, and others are refused. Default:
	// none, and no header is looked for.
	ProxyProtocol []netip.Prefix
	// Limits are those of this listener beside, or in place of, those of [limits].
	Limits ListenerLimits
}

// Record is where and how what clients send is written down.
type Record struct {
	// File is the path of the record file; a relative one is below $LOGS_DIRECTORY, else below the working directory. Default records.log.
	File string
	// Format is "text" or "json". Default text.
	Format string
	// Sync is how long after it was written a record is on disk (fdatasync(2)) at the latest, 1 ms or more; SyncAlways: before
	// its session reads on; SyncNone: when the kernel likes. Default 1s.
	Sync time.Duration
	// MinFree is how many bytes are left free on the file system: with fewer, clients wait. Default 0: it may run full.
	MinFree int64
	// Mode is the permission bits of a file that the daemon makes. Default 0640.
	Mode uint32
	// MaxSize is the size in bytes that a file does not exceed: it is rotated before. 4 KiB or more, and enough for the longest
	// record that any listener's MaxMessage can become. Default 100 MiB.
	MaxSize int64
	// MaxBackups is how many rotated files are kept; 0 keeps all. Default 10.
	MaxBackups int
	// MaxAge is how long rotated files are kept, in whole days; 0 keeps them for ever. Default 0.
	MaxAge time.Duration
	// Compress says whether rotated files are compressed with gzip. Default true.
	Compress bool
	// Events says whether the opening and closing of sessions are records too. Default true.
	Events bool
}

// The values of Record.Sync that are no duration.
const (
	SyncAlways time.Duration = 0
	SyncNone   time.Duration = -1
)

// Log is what the daemon says about itself.
type Log struct {
	// File is the path of the log file, rotated by the same keys as the record file; "" is standard error, that is the journal. Default "".
	File string
	// Level is "debug", "info", "warn" or "error". Default info.
	Level string
}

// Default returns the configuration of an empty file.
func Default() Config {
	c := Config{Listeners: []Listener{{Name: MainListener, Record: true}}}
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
