package handover

import (
	"errors"
	"slices"
	"strings"

	"tcpmux/config"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
	"tcpmux/daemon/sink"
	"tcpmux/daemon/systemd"
)

// Each sink has a journal: that of [record] has one, and so has that of each listener with a record
// file of its own. The mark of a connection is a position in the journal of the sink that its
// session wrote to, which follows from the settings that the session began with.

// kept is a sink with its journal.
type kept struct {
	sink    *sink.Sink
	journal *sink.Journal // nil: none could be had
}

// ownJournal begins the stored name of the journal of a listener's own file. The listener's name
// follows.
const ownJournal = systemd.JournalName + "-"

// journalName returns the stored name of a listener's journal.
func journalName(listener string) string {
	if listener == "" {
		return systemd.JournalName
	}
	return ownJournal + listener
}

// keepJournals has each sink write what the previous process has taken and not written, and keep
// what it takes from now on where the next process finds it. For each connection the state then
// tells how far it is recorded.
func (h *Handover) keepJournals() error {
	if h.state == nil {
		return nil // nothing would tell which messages those are
	}
	format, err := record.ParseFormat(h.opt.Config.Record.Format)
	if err != nil {
		return err
	}
	// By listener; 0 for a journal that is not there: then no mark holds.
	positions := make(map[string]int64)
	errs := h.keepMain(format, positions)
	for _, l := range h.opt.Config.Listeners {
		if l.File != "" {
			errs = errors.Join(errs, h.keepOwn(l, format, positions))
		}
	}
	errs = errors.Join(errs, h.keepFormer(format, positions))
	h.state.SettleEach(h.positionOf(positions))
	for _, k := range h.journals {
		if k.journal != nil {
			k.sink.Keep(k.journal)
		}
	}
	return errs
}

func (h *Handover) keepMain(format record.Format, positions map[string]int64) error {
	j, err := h.openJournal("")
	if err != nil {
		return err
	}
	h.journals[""] = kept{h.opt.Sink, j}
	positions[""] = j.Settle(recordfile.Finder(h.opt.RecordFile), format)
	return nil
}

// keepOwn opens the journal of a listener's own file. What the previous process was writing is
// looked for in the file that the listener had then.
func (h *Handover) keepOwn(l config.Listener, format record.Format, positions map[string]int64) error {
	j, err := h.openJournal(l.Name)
	h.journals[l.Name] = kept{h.opt.OwnSink(l), j}
	if err != nil {
		return err
	}
	path := l.File
	if former, _, found := h.opt.Settings.lastFile(l.Name); found {
		path = former.File
	}
	positions[l.Name] = j.Settle(recordfile.Finder(config.FilePath(path)), format)
	return nil
}

// keepFormer opens the journals of listeners that have no file of their own any more, if sessions
// go on in those files or lines are left for them. The other ones are not stored any longer.
func (h *Handover) keepFormer(format record.Format, positions map[string]int64) (errs error) {
	for _, name := range h.storedJournals() {
		if _, open := h.journals[name]; open {
			continue
		}
		l, _, found := h.opt.Settings.lastFile(name)
		if !found {
			// The file that its lines are for is not known. They stay where they are.
			h.opt.Log.Error("the record file of a listener is not known, its last records may be missing", "listener", name)
			continue
		}
		if !h.needed(name) {
			if h.stored {
				errs = errors.Join(errs, unstore(journalName(name)))
			}
			continue
		}
		errs = errors.Join(errs, h.keepOwn(l, format, positions))
	}
	return errs
}

// storedJournals returns the listeners whose own journals the previous process has left.
func (h *Handover) storedJournals() (listeners []string) {
	for _, s := range h.opt.Stored {
		if name, own := strings.CutPrefix(s.Name, ownJournal); own {
			listeners = append(listeners, name)
		}
	}
	return listeners
}

// needed reports whether connections are left whose sessions write to the listener's own file, or
// lines that are not in it yet.
func (h *Handover) needed(listener string) bool {
	for origin := range h.state.Origins() {
		if l, _, known := h.opt.Settings.began(origin); known && l.Name == listener && l.File != "" {
			return true
		}
	}
	for _, file := range pick(h.opt.Stored, journalName(listener)) {
		if fd, err := duplicate(file); err == nil {
			j, err := sink.OpenJournal(fd)
			if err != nil {
				continue
			}
			left := j.Unwritten()
			_ = j.Close() // nothing was written
			if left {
				return true
			}
		}
	}
	return false
}

// positionOf returns a function that returns up to which position marks hold, by the origin of the
// connection's settings. A connection of unknown settings may have had any of several sinks: then
// no mark holds, and messages may be recorded twice rather than not at all.
func (h *Handover) positionOf(positions map[string]int64) func(origin uint32) int64 {
	several := len(h.storedJournals()) > 0
	return func(origin uint32) int64 {
		o := h.beganWith(origin)
		switch {
		case o == nil && several:
			return 0
		case o == nil || o.settings.File == "":
			return positions[""]
		}
		return positions[o.settings.Name]
	}
}

// filesInUse returns the settings with which the next process finds the files that listeners of cfg
// have no longer, by their number.
func (h *Handover) filesInUse(cfg config.Config) map[uint32]bool {
	numbers := make(map[uint32]bool)
	for listener := range h.journals {
		if listener == "" || slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.Name == listener && l.File != "" }) {
			continue
		}
		if _, number, found := h.opt.Settings.lastFile(listener); found {
			numbers[number] = true
		}
	}
	return numbers
}

// keepAdded gives journals to the sinks of files that listeners of cfg have got by a reload. No
// session writes to them yet.
func (h *Handover) keepAdded(cfg config.Config) (errs error) {
	for _, l := range cfg.Listeners {
		if _, asked := h.journals[l.Name]; asked || l.File == "" {
			continue
		}
		j, err := h.newJournal(l.Name)
		k := kept{h.opt.OwnSink(l), j}
		h.journals[l.Name] = k
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		k.sink.Keep(j)
	}
	return errs
}

// openJournal opens the journal that the previous process has left for a listener's own file, or
// with "" for that of [record], or makes one.
func (h *Handover) openJournal(listener string) (*sink.Journal, error) {
	var j *sink.Journal
	opened, err := h.openStored(journalName(listener), "messages may be recorded twice", func(fd int) (err error) {
		j, err = sink.OpenJournal(fd)
		return err
	})
	if opened || err != nil {
		return j, err
	}
	return h.newJournal(listener)
}

// newJournal makes a journal, and has it stored if the ring is.
func (h *Handover) newJournal(listener string) (*sink.Journal, error) {
	j, err := sink.NewJournal()
	if err != nil || !h.stored {
		return j, err
	}
	if err := store(journalName(listener), j.FD()); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}
