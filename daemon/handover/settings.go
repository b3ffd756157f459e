package handover

import (
	"bytes"
	"errors"
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
	file  *os.File        // has what is saved; nil: none does
	read  *savedListeners // what saved has; nil: it was not asked for yet
	known *known          // nil: none is
}

// known is a configuration with its text, which so need not be parsed: with all defaults in it and
// many listeners that takes longer than all else of a start, and clients wait for it.
type known struct {
	text state.Text
	cfg  config.Config
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
		s.saved, s.file, s.read = saved, file, nil
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
	return s.parse(s.saved.Texts[len(s.saved.Texts)-1])
}

// newText returns cfg as it is kept. Its listeners have no numbers yet.
func newText(cfg config.Config) (t state.Text, err error) {
	var b bytes.Buffer
	err = cfg.WriteTOML(&b)
	return state.Text{Path: cfg.Path, Text: b.String()}, err
}

// know returns cfg as it is kept, and remembers both.
func (s *SettingsStore) know(cfg config.Config) (t state.Text, err error) {
	if t, err = newText(cfg); err != nil {
		return t, err
	}
	s.known, s.read = &known{t, cfg}, nil
	return t, nil
}

// parse returns the configuration that a text was made of.
func (s *SettingsStore) parse(t state.Text) (config.Config, error) {
	if s.known == nil || t.Path != s.known.text.Path || t.Text != s.known.text.Text {
		return config.Parse(t.Path, []byte(t.Text))
	}
	cfg := s.known.cfg
	cfg.Listeners = slices.Clone(cfg.Listeners)
	for i := range cfg.Listeners {
		cfg.Listeners[i].Source = cfg.Path // the text is one file
	}
	return cfg, nil
}

// number gives the listeners of t, a configuration that is not saved, their numbers. They follow
// from it and from what is saved, so that two processes agree on them that have the same of both: a
// trial, and the program after it. None is a number of something that is saved.
func (s *SettingsStore) number(t *state.Text, listeners []config.Listener) {
	taken := make(map[uint32]bool)
	for _, saved := range s.saved.Texts {
		for _, n := range saved.Origins {
			taken[n] = true
		}
	}
	t.Origins = make(map[string]uint32, len(listeners))
	text := hash(fnvBasis, t.Path, "\n", t.Text, "\n") // once: it is long where there are many
	for _, l := range listeners {
		n := hash(text, l.Name)%state.MaxOrigin + 1
		for taken[n] {
			n = n%state.MaxOrigin + 1
		}
		taken[n], t.Origins[l.Name] = true, n
	}
}

// fnvBasis is the FNV-1a hash, of 32 bits, of nothing.
const fnvBasis = 2166136261

// hash returns the FNV-1a hash of texts behind those whose hash is h.
func hash(h uint32, texts ...string) uint32 {
	for _, text := range texts {
		for i := range len(text) {
			h = (h ^ uint32(text[i])) * 16777619
		}
	}
	return h
}

// put makes cfg the last configuration, and keeps those that connections in used began with. It
// returns the numbers of its listeners' settings. The service manager is given the new file
// before it forgets the old one.
func (s *SettingsStore) put(cfg config.Config, used map[uint32]bool) (map[string]uint32, error) {
	next, err := s.know(cfg)
	if err != nil {
		return nil, err
	}
	same := func(t state.Text) bool { return t.Text == next.Text && t.Path == next.Path }
	texts := slices.Clone(s.saved.Texts)
	switch at := slices.IndexFunc(texts, same); {
	case at < 0:
		s.number(&next, cfg.Listeners)
	case at == len(texts)-1:
		return texts[at].Origins, nil
	default: // it comes back, as the last
		next.Origins = texts[at].Origins
	}
	texts = slices.DeleteFunc(texts, func(t state.Text) bool {
		for _, n := range t.Origins {
			if used[n] {
				return same(t)
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
	s.saved, s.file, s.read = saved, file, nil
	return err
}

// savedListeners are the listeners of all texts that are saved. Each text has all listeners, and each
// of them is asked for, so the texts are read once and not once for each question.
type savedListeners struct {
	begun map[uint32]savedListener // by their numbers
	files map[string]savedListener // as they last had a file of their own, by name
}

// savedListener is a listener in a text that is saved.
type savedListener struct {
	listener config.Listener
	events   config.Events // whether the opening and the closing of its sessions are records
	number   uint32
}

// listeners returns the listeners of all texts that are saved, but for those of another version,
// which have what this one does not know.
func (s *SettingsStore) listeners() *savedListeners {
	if s.read != nil {
		return s.read
	}
	s.read = &savedListeners{make(map[uint32]savedListener), make(map[string]savedListener)}
	for _, t := range s.saved.Texts {
		cfg, err := s.parse(t)
		if err != nil {
			continue
		}
		for _, l := range cfg.Listeners {
			saved := savedListener{l, cfg.Record.Events, t.Origins[l.Name]}
			if saved.number != 0 {
				s.read.begun[saved.number] = saved
			}
			if l.File != "" {
				s.read.files[l.Name] = saved // the last text is the youngest
			}
		}
	}
	return s.read
}

// lastFile returns the listener as it last had a record file of its own, and the number of these
// settings.
func (s *SettingsStore) lastFile(listener string) (l config.Listener, number uint32, found bool) {
	saved, found := s.listeners().files[listener]
	return saved.listener, saved.number, found
}

// began returns the listener that sessions of a number began with, and whether their opening and
// closing are records; false when it is not known.
func (s *SettingsStore) began(number uint32) (l config.Listener, events config.Events, known bool) {
	saved, known := s.listeners().begun[number]
	return saved.listener, saved.events, known
}
