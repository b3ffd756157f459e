// Package handover lets clients outlive the process that serves them: across a restart, a crash,
// and an upgrade by another program. It promises that the next process goes on with each connection
// that was kept at the offset that its records have reached, that no record of it is written twice,
// and that whatever fails here costs this promise and nothing else: clients are served all the
// same.
//
// Three things are kept for the next process, by the service manager's descriptor store or by the
// program that is replaced: the connections in a ring (package ring), what the kernel does not know
// of them in files in memory (package state), one of them for TLS, one for unix sockets and one for
// proxies, and the records that are taken and not written yet in journals (package sink). The
// settings that sessions began with are a fourth (SettingsStore).
package handover

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/ring"
	"tcpmux/daemon/server"
	"tcpmux/daemon/sink"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
	"tcpmux/daemon/tlsconn"
)

// storeTimeout bounds the wait for the service manager's answer whether it stores descriptors.
const storeTimeout = 10 * time.Second

// Handover keeps the clients of a server for the next process. A nil *Handover keeps nothing, and
// all of its methods may be called. PutSettings, Adopt, Takeover, SetAge, ReportCapacity and
// Close are for one goroutine; the others may be called from any.
type Handover struct {
	opt      Options
	ring     *ring.Ring
	state    *state.File     // nil: only what the kernel knows is kept
	journals map[string]kept // by listener, "" for [record]; empty: there is no state
	stored   bool            // the service manager holds them too; false: they are for an upgrade
	verified atomic.Bool     // the service manager does store what it is given
	probed   chan struct{}   // closed when that is known; nil: it is not asked
	tls      tlsStore
	unix     unixStore
	pairs    pairStore
	kernel   func(fd int) (kernelState, error)
	origins  map[uint32]*origin
	named    map[string][]*server.Binding // by their listeners, once adopt has them
	adopted  Adopted
	closed   chan struct{}
}

// Options are what a Handover works with. All fields are required.
type Options struct {
	// Stored are the descriptors that the previous process has left. They stay the caller's,
	// who may close them once Open has returned.
	Stored []systemd.Socket
	// Settings has the settings that sessions began with. It stays the caller's, and has to
	// stay open until Close.
	Settings *SettingsStore
	// Config is the configuration in force. With Survive false the clients of the previous
	// process are served to their end, and no others are kept.
	Config config.Config
	// Server serves the clients. Open makes the Handover its Keeper.
	Server *server.Server
	// Sink takes the records of all listeners that have no record file of their own. Open gives
	// it a journal.
	Sink *sink.Sink
	// RecordFile is the path of the file that Sink writes.
	RecordFile string
	// OwnSink returns the sink of a listener that has a file of its own. The listener may be
	// one that had it in the previous process. Open and PutSettings give the sinks journals.
	OwnSink func(config.Listener) *sink.Sink
	Log     *slog.Logger
}

// Open opens what the previous process has left, or makes it anew and has the service manager
// store it. It returns nil when there is nothing to go on with and nothing is to be kept. It does
// not fail: what cannot be had is logged. After it, PutSettings gives the numbers by which the
// server's settings are known, and Adopt goes on with the clients.
func Open(opt Options) *Handover {
	h := newHandover(opt)
	_, _ = opt.Settings.know(opt.Config) // of an error PutSettings tells
	kept, err := h.open()
	if err != nil {
		h.opt.Log.Warn("clients do not outlive the daemon", "err", err)
	}
	if err != nil || !kept {
		return nil
	}
	h.opt.Server.SetKeeper(h)
	if err := h.keepJournals(); err != nil {
		h.opt.Log.Warn("after a crash messages may be recorded twice", "err", err)
	}
	return h
}

func newHandover(opt Options) *Handover {
	return &Handover{opt: opt, kernel: readKernelState, tls: tlsStore{skip: tlsconn.Skip}, closed: make(chan struct{}),
		origins: make(map[uint32]*origin), journals: make(map[string]kept)}
}

// open opens the ring and the state; kept is false when nothing is to be kept.
func (h *Handover) open() (kept bool, err error) {
	ends := pick(h.opt.Stored, systemd.RingName)
	switch {
	case len(ends) == 2:
		h.ring, err = openRing(ends, h.opt.Config.SurviveAfter)
		h.stored = systemd.Notified()
		h.verified.Store(h.stored && !h.opt.Stored[0].Ours)
	case h.opt.Config.Survive && systemd.Notified():
		h.ring, err = newStoredRing(h.opt.Config.SurviveAfter)
		h.stored = true
	case h.opt.Config.Survive:
		h.opt.Log.Info("clients outlive an upgrade by SIGUSR2, and no end of the process", "reason", "there is no service manager to keep them")
		return true, h.openPrivate()
	default:
		return false, nil
	}
	if err != nil {
		return false, err
	}
	h.ReportCapacity(h.opt.Config.Limits.Clients)
	if h.state, err = h.openState(); err != nil {
		h.opt.Log.Warn("the next process will know less of clients", "err", err)
	}
	if err := h.openTLS(); err != nil {
		h.opt.Log.Warn("clients that speak TLS do not outlive the daemon", "err", err)
	}
	if err := h.openUnix(); err != nil {
		h.opt.Log.Warn("clients of unix sockets do not outlive the daemon", "err", err)
	}
	if err := h.openPairs(); err != nil {
		h.opt.Log.Warn("clients of proxies do not outlive the daemon", "err", err)
	}
	return true, nil
}

// Adopt goes on with the clients of the previous process, each at the binding that it came
// through, and keeps the ring in order from then on. The bindings have their settings by now.
// Call it once.
func (h *Handover) Adopt(bindings []*server.Binding) {
	if h == nil {
		return
	}
	began, before := time.Now(), h.opt.Server.Clients()
	defer collectLess()()
	if err := h.adopt(bindings); err != nil {
		h.opt.Log.Error("clients of the process before are lost", "err", err)
	}
	if h.state != nil {
		h.state.Forget()
	}
	h.tls.file.Load().Forget()
	h.unix.file.Load().Forget()
	h.pairs.file.Load().Forget()
	h.adopted = Adopted{h.opt.Server.Clients() - before, time.Since(began)}
	if n := h.adopted.Clients; n > 0 {
		h.opt.Log.Info("goes on with the clients of the process before", "clients", n, "duration", h.adopted.Took.Round(time.Millisecond))
	}
	if h.stored || h.ring.Live() > 0 {
		go h.maintain(h.opt.Config.SurviveAfter)
	}
	if h.opt.Config.Survive && h.stored && !h.verified.Load() {
		h.probed = make(chan struct{})
		go h.verifyStore()
	}
}

// Adopted is what Adopt has come to.
type Adopted struct {
	Clients int
	Took    time.Duration
}

// Adopted returns what Adopt has come to.
func (h *Handover) Adopted() Adopted {
	if h == nil {
		return Adopted{}
	}
	return h.adopted
}

// verifyStore finds out whether the service manager stores what it is given.
func (h *Handover) verifyStore() {
	defer close(h.probed)
	if err := systemd.StoreWorks(storeTimeout); err != nil {
		h.opt.Log.Warn("clients do not outlive the daemon", "err", err)
		return
	}
	h.verified.Store(true)
}

// PutSettings keeps cfg, the configuration in force from now on, for the next process, together
// with those that clients which are still served began with. It returns the number of each
// listener's settings, by the listener's name; nil when no settings are kept.
func (h *Handover) PutSettings(cfg config.Config) map[string]uint32 {
	if h == nil || !h.opt.Config.Survive || h.state == nil {
		return nil
	}
	if err := h.keepAdded(cfg); err != nil {
		h.opt.Log.Warn("after a crash messages may be recorded twice", "err", err)
	}
	h.makeTLS(cfg)
	h.makeUnix(cfg)
	h.makePairs(cfg)
	used := h.state.Origins()
	maps.Copy(used, h.filesInUse(cfg))
	numbers, err := h.opt.Settings.put(cfg, used)
	if err != nil {
		h.opt.Log.Warn("the next process may serve clients with other settings than they began with", "err", err)
	}
	return numbers
}

// Survives reports whether clients outlive the process, whatever ends it.
func (h *Handover) Survives() bool { return h != nil && h.opt.Config.Survive && h.verified.Load() }

// AwaitSurvival is Survives, once that is known: a service manager may take a second or two to show
// that it stores what it is given. It is called by the goroutine that has called Adopt.
func (h *Handover) AwaitSurvival() bool {
	if h != nil && h.probed != nil {
		<-h.probed
	}
	return h.Survives()
}

// Status returns what the service manager's status line has to say about clients that are not
// kept, behind a semicolon; "" when all are.
func (h *Handover) Status() string {
	if h == nil || !h.opt.Config.Survive {
		return ""
	}
	if n := h.ring.Overdue(); n > 0 {
		return fmt.Sprintf("; %d of them would end with the daemon", n)
	}
	return ""
}

// SetAge changes how old a connection has to be before it is kept.
func (h *Handover) SetAge(age time.Duration) {
	if h != nil {
		h.ring.SetAge(age)
	}
}

// ReportCapacity logs a warning when fewer clients can outlive the process than the server serves
// at once; wanted is limits.clients, which the server may fall short of. Status tells of clients
// that are not kept.
func (h *Handover) ReportCapacity(wanted int) {
	if h == nil || !h.opt.Config.Survive || !h.stored {
		return
	}
	n, bound := h.ring.Capacity()
	needed := config.SurvivalFiles(wanted)
	if hasProxies(h.opt.Config) { // an upstream takes as much as a client
		n, needed = n/2, config.SurvivalFiles(2*wanted)
	}
	if n < h.opt.Server.Capacity() {
		h.opt.Log.Warn("not as many clients can outlive the daemon as there may be", "clients", wanted, "outlive", n,
			"bound", bound, "descriptors", descriptorLimit(), "needed", fmt.Sprintf("LimitNOFILE=%d", needed))
	}
}

// descriptorLimit returns how many descriptors the process may have (getrlimit(2),
// RLIMIT_NOFILE); 0 when that is not known.
func descriptorLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}

// Close lets go of everything, which stays while the service manager or a Takeover holds it. Call
// it after the server's sessions have ended and the sink was closed.
func (h *Handover) Close() (err error) {
	if h == nil {
		return nil
	}
	close(h.closed)
	h.ring.Close()
	if h.state != nil {
		err = h.state.Close()
	}
	err = errors.Join(err, h.tls.file.Load().Close(), h.unix.file.Load().Close(), h.pairs.file.Load().Close())
	for _, k := range h.journals {
		if k.journal != nil {
			k.sink.Release()
			err = errors.Join(err, k.journal.Close())
		}
	}
	return err
}
