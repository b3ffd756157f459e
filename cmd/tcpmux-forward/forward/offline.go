package forward

import (
	"errors"
	"io/fs"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/spool"
	"tcpmux/config"
	"tcpmux/daemon/delivery"
)

// Forget marks all that is recorded now as not to be delivered, and returns what it lets go of. The
// daemon's retention removes it as if it were delivered. No Forwarder may run.
func Forget(cfg config.Config) (let []api.File, err error) {
	j, err := openJournal(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	paths := j.paths(cfg.RecordPaths())
	s := spool.Open(spool.Options{Paths: paths})
	defer func() { err = errors.Join(err, s.Close()) }()
	ends, err := s.Ends()
	if err != nil {
		return nil, err
	}
	let = s.Lag(j.state.Delivered)
	j.forget(paths, ends)
	return let, nil
}

// AcceptStream notes that the next Forwarder may deliver into a stream that is not the one that was
// delivered to before, behind what was delivered there. No Forwarder may run.
func AcceptStream(cfg config.Config) error {
	j, err := openJournal(cfg)
	if err != nil {
		return err
	}
	j.state.Accept, j.dirty = true, true
	return j.close()
}

// Offline returns what the state file and the record files say while no Forwarder runs.
func Offline(cfg config.Config) (api.Status, error) {
	state, err := delivery.Load(cfg.Forward.State)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return api.Status{}, err
	}
	s := spool.Open(spool.Options{Paths: cfg.RecordPaths()})
	defer s.Close() // nothing was written
	host, err := hostOf(cfg)
	if err != nil {
		return api.Status{}, err
	}
	st := api.Status{Stream: cfg.Forward.Stream, Host: host, Sequence: state.Sequence, Files: s.Lag(state.Delivered)}
	st.Lag.Bytes = sum(st.Files)
	st.Lag.Records = (st.Lag.Bytes + meanRecord - 1) / meanRecord
	if oldest := s.Oldest(); !oldest.IsZero() {
		st.Lag.Seconds = max(0, time.Since(oldest).Seconds())
	}
	return st, nil
}
