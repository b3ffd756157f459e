package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strconv"
	"strings"

	"tcpmux/config"
	"tcpmux/daemon/state"
	"tcpmux/daemon/systemd"
)

// origins know what sessions began with: a session keeps its listener's name and its settings in the next process too, also when
// the configuration has them no longer, as it does after a reload. They are also what a daemon goes on with whose configuration has
// a fault, while clients wait. One goroutine uses them.
type origins struct {
	saved state.Settings
	file  *os.File // in which they are kept; nil: in none
	begun map[uint32]*origin
}

// origin is what the sessions of one listener began with.
type origin struct {
	settings *listenerSettings
	events   bool      // their opening and closing are records
	listener *listener // that the configuration has no longer; nil: it does
}

// openOrigins reads what the process before has left; one that cannot be read is as one that there is not.
func openOrigins(stored []systemd.Socket) (o *origins, err error) {
	o = &origins{begun: make(map[uint32]*origin)}
	for _, s := range stored {
		if !strings.HasPrefix(s.Name, systemd.SettingsName) {
			continue
		}
		saved, lerr := state.LoadSettings(s.File)
		if lerr != nil || saved.Serial < o.saved.Serial {
			err = errors.Join(err, lerr)
			continue
		}
		file, derr := duplicateFile(s.File, s.Name)
		if derr != nil {
			err = errors.Join(err, derr)
			continue
		}
		o.close()
		o.saved, o.file = saved, file
	}
	return o, err
}

func (o *origins) close() {
	if o.file != nil {
		_ = o.file.Close() // nothing was written
	}
	o.file = nil
}

// last is the configuration that was in force last.
func (o *origins) last() (config.Config, error) {
	if len(o.saved.Texts) == 0 {
		return config.Config{}, errors.New("the process before has left no configuration")
	}
	t := o.saved.Texts[len(o.saved.Texts)-1]
	return config.Parse(t.Path, []byte(t.Text))
}

// newText is cfg as it is kept. The numbers of its listeners follow from it, so that two processes which have the same configuration
// agree on them.
func newText(cfg config.Config) (t state.Text, err error) {
	var b bytes.Buffer
	if err := cfg.WriteTOML(&b); err != nil {
		return t, err
	}
	t = state.Text{Path: cfg.Path, Text: b.String(), Origins: make(map[string]uint32)}
	for _, l := range cfg.Listeners {
		h := fnv.New32a()
		fmt.Fprintf(h, "%s\n%s\n%s", t.Path, t.Text, l.Name)
		t.Origins[l.Name] = h.Sum32()%state.MaxOrigin + 1
	}
	return t, nil
}

// put makes cfg the configuration that is in force, and keeps those that connections in used began with. Whoever stores descriptors is
// given the new file before the old one goes.
func (o *origins) put(cfg config.Config, used map[uint32]bool) (map[string]uint32, error) {
	next, err := newText(cfg)
	if err != nil {
		return nil, err
	}
	texts := slices.Clone(o.saved.Texts)
	if n := len(texts); n > 0 && texts[n-1].Text == next.Text && texts[n-1].Path == next.Path {
		return texts[n-1].Origins, nil
	}
	texts = slices.DeleteFunc(texts, func(t state.Text) bool {
		for _, n := range t.Origins {
			if used[n] {
				return t.Text == next.Text && t.Path == next.Path // it comes back, as the last
			}
		}
		return true
	})
	saved := state.Settings{Serial: o.saved.Serial + 1, Texts: append(texts, next)}
	fd, err := saved.Save()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), systemd.SettingsName+strconv.FormatInt(saved.Serial, 10))
	if systemd.Notified() {
		err = systemd.Store(file.Name(), fd)
		if err == nil && o.file != nil {
			err = systemd.Unstore(o.file.Name())
		}
	}
	o.close()
	o.saved, o.file = saved, file
	return next.Origins, err
}

// find returns what the sessions of an origin began with; nil when it is not known. A nil *origins knows nothing.
func (o *origins) find(number uint32) *origin {
	if o == nil || number == 0 {
		return nil
	}
	if found, known := o.begun[number]; known {
		return found
	}
	o.begun[number] = o.parse(number)
	return o.begun[number]
}

func (o *origins) parse(number uint32) *origin {
	t, name, found := o.saved.Begun(number)
	if !found {
		return nil
	}
	cfg, err := config.Parse(t.Path, []byte(t.Text))
	if err != nil {
		return nil // it is of another version, and has what this one does not know
	}
	for _, l := range cfg.Listeners {
		if l.Name == name {
			return &origin{settings: newSettings(l, number), events: cfg.Record.Events}
		}
	}
	return nil
}

// origin returns the listener of a connection of the process before, the settings that it goes on with, and whether its opening and
// closing are records. Where it is not known what it began with, that is what the listener at its address has now.
func (s *Server) origin(slot *state.Slot, lns []*listener, k known) (*listener, *listenerSettings, bool) {
	o := s.survival.origins.find(slot.Origin())
	if o == nil {
		ln := listenerOf(lns, k.local)
		slot.SetOrigin(ln.settings.Load().origin)
		return ln, ln.settings.Load(), s.events.Load()
	}
	var named []*listener
	for _, ln := range lns {
		if ln.name == o.settings.Name {
			named = append(named, ln)
		}
	}
	if len(named) > 0 {
		ln := listenerOf(named, k.local)
		if now := ln.settings.Load(); now.origin == slot.Origin() {
			return ln, now, s.events.Load()
		}
		return ln, o.settings, o.events
	}
	if o.listener == nil {
		o.listener = s.retired(o.settings, k)
	}
	return o.listener, o.settings, o.events
}

// retired is a listener that the configuration has no longer, for the sessions that are left of it. Nobody comes through it any more.
func (s *Server) retired(settings *listenerSettings, k known) *listener {
	ln := newListener(settings.Listener, nil, false)
	ln.settings.Store(settings)
	ln.addr = k.local
	ln.door.configure(settings.Limits, s.prefix)
	ln.door.rules.Store(rulesFiles(nil).of(settings.Limits.Policy))
	s.log.Info("clients of a listener that is configured no longer are served on", "listener", ln.name, "address", ln.addr.String())
	return ln
}
