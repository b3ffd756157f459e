// Package forward delivers record files to a JetStream stream: it connects, asks the stream where
// the delivery stands, reads on from there and publishes. It promises that each record is in the
// stream once and in order, whenever this process, the server or either machine ends, and that
// where this cannot be known, it stops and says what an administrator has to decide.
package forward

import (
	"context"
	"log/slog"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/config"
)

// Options are what a Forwarder needs.
type Options struct {
	// Config is a configuration with forwarding on.
	Config  config.Config
	Log     *slog.Logger
	Version string
	// Once makes Run return when all that is recorded when it begins is delivered.
	Once bool
	// Files are delivered instead of the record files of Config, in this order, and then Run
	// returns. Then neither the state file nor its lock is used, so another Forwarder may run.
	Files []string
	// Progress is called with bytes of record files that are delivered, and with how many there
	// were when Run began. It may be nil, and is for Once and Files.
	Progress func(done, total int64)
}

// Forwarder delivers records. Its methods are safe for concurrent use.
type Forwarder struct{}

// New returns a Forwarder. It locks the state directory: an error tells if another process has it.
// The caller closes the Forwarder.
func New(opt Options) (*Forwarder, error) { return nil, nil }

// Run delivers until ctx is done, and returns nil then. With Once or Files it returns nil when all
// is delivered. Whatever fails is tried again; an error is what no other try can change. Call it
// once.
func (f *Forwarder) Run(ctx context.Context) error { return nil }

// Reload goes on with another configuration, which has forwarding on, as soon as what is under way
// is settled. The error says what cannot be changed while the Forwarder runs; nothing changes then.
func (f *Forwarder) Reload(cfg config.Config) error { return nil }

// Status returns what there is to know.
func (f *Forwarder) Status() api.Status { return api.Status{} }

// Healthy returns why the Forwarder is not healthy: it is blocked, an outage lasts for over a
// minute, or its loop makes no progress.
func (f *Forwarder) Healthy() error { return nil }

// Ready returns why records are not being delivered at this moment.
func (f *Forwarder) Ready() error { return nil }

// Close saves the state and unlocks the state directory. Run must have returned.
func (f *Forwarder) Close() error { return nil }

// Forget marks all that is recorded now as not to be delivered, and returns what it lets go of. The
// daemon's retention removes it as if it were delivered. No Forwarder may run.
func Forget(cfg config.Config) ([]api.File, error) { return nil, nil }

// AcceptStream notes that the next Forwarder may deliver into a stream that is not the one that was
// delivered to before, behind what was delivered there. No Forwarder may run.
func AcceptStream(cfg config.Config) error { return nil }

// Offline returns what the state file and the record files say while no Forwarder runs.
func Offline(cfg config.Config) (api.Status, error) { return api.Status{}, nil }
