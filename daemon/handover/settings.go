package handover

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

// SettingsStore has the settings that sessions began with: a session keeps its listener's name
// and its settings in the next process too, also when the configuration has them no longer, as
// after a reload. From it a daemon whose configuration has a fault goes on while clients wait. It
// is for one goroutine.
type SettingsStore struct {
	saved state.Settings
	file  *os.File // has what is saved; nil: none does
}

// OpenSettings reads the settings that the previous process has left among the stored
// descriptors, which stay the caller's. The store is usable in any case: with an error it lacks
// what could not be read.
func OpenSettings(stored []systemd.Socket) (s *SettingsStore, err error) {
	s = new(SettingsStore)
	for _, d := range stored {
		if !strings.HasPrefix(d.Name, systemd.SettingsName) {
			continue
		}
		saved, lerr := state.LoadSettings(d.File)
		if lerr != nil || saved.Serial < s.saved.Serial {
			err = errors.Join(err, lerr)
			continue
		}
		file, derr := duplicateFile(d.File, d.Name)
		if derr != nil {
			err = errors.Join(err, derr)
			continue
		}
		s.Close()
		s.saved, s.file = saved, file
	}
	return s, err
}

// Close lets go of the file. It may be called again.
func (s *SettingsStore) Close() {
	if s.file != nil {
		_ = s.file.Close() // nothing was written
	}
	s.file = nil
}

// Last returns the configuration that was in force last.
func (s *SettingsStore) Last() (config.Config, error) {
	if len(s.saved.Texts) == 0 {
		return config.Config{}, errors.New("the process before has left no configuration")
	}
	t := s.saved.Texts[len(s.saved.Texts)-1]
	return config.Parse(t.Path, []byte(t.Text))
}

// newText returns cfg as it is kept. The numbers of its listeners follow from it, so that two
// processes with the same configuration agree on them.
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

// put makes cfg the last configuration, and keeps those that connections in used began with. It
// returns the numbers of its listeners' settings. The service manager is given the new file
// before it forgets the old one.
func (s *SettingsStore) put(cfg config.Config, used map[uint32]bool) (map[string]uint32, error) {
	next, err := newText(cfg)
	if err != nil {
		return nil, err
	}
	texts := slices.Clone(s.saved.Texts)
	if n := len(texts); n > 0 && texts[n-1].Text == next.Text && texts[n-1].Path == next.Path {
		return texts[n-1].Origins, nil
	}
	texts = slices.DeleteFunc(texts, func(t state.Text) bool {
		for _, n := range t.Origins {
			if used[n] {
				// It comes back, as the last.
				return t.Text == next.Text && t.Path == next.Path
			}
		}
		return true
	})
	return next.Origins, s.replace(state.Settings{Serial: s.saved.Serial + 1, Texts: append(texts, next)})
}

// replace makes saved what is kept.
func (s *SettingsStore) replace(saved state.Settings) error {
	fd, err := saved.Save()
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), systemd.SettingsName+strconv.FormatInt(saved.Serial, 10))
	if systemd.Notified() {
		err = systemd.Store(file.Name(), fd)
		if err == nil && s.file != nil {
			err = systemd.Unstore(s.file.Name())
		}
	}
	s.Close()
	s.saved, s.file = saved, file
	return err
}

// lastFile returns the listener as it last had a record file of its own, and the number of these
// settings.
func (s *SettingsStore) lastFile(listener string) (l config.Listener, number uint32, found bool) {
	for _, t := range slices.Backward(s.saved.Texts) {
		cfg, err := config.Parse(t.Path, []byte(t.Text))
		if err != nil {
			continue // it is of another version
		}
		for _, l := range cfg.Listeners {
			if l.Name == listener && l.File != "" {
				return l, t.Origins[listener], true
			}
		}
	}
	return l, 0, false
}

// began returns the listener that sessions of a number began with, and whether their opening and
// closing are records; false when it is not known.
func (s *SettingsStore) began(number uint32) (l config.Listener, events config.Events, known bool) {
	t, name, found := s.saved.Begun(number)
	if number == 0 || !found {
		return l, config.NoEvents, false
	}
	cfg, err := config.Parse(t.Path, []byte(t.Text))
	if err != nil {
		// It is of another version, and has what this one does not know.
		return l, config.NoEvents, false
	}
	for _, l := range cfg.Listeners {
		if l.Name == name {
			return l, cfg.Record.Events, true
		}
	}
	return l, config.NoEvents, false
}
