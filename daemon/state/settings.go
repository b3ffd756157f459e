package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Settings are configurations that connections began with, in a file in memory of its own. It is made anew whenever they change, and
// is never changed itself, so that no moment can leave half of it.
type Settings struct {
	// Serial counts up with each file.
	Serial int64
	// Texts are the configurations, the one in force last.
	Texts []Text
}

// Text is one configuration.
type Text struct {
	// Path is the file that it was read from.
	Path string
	// Text is what the file said, with all defaults, so that a later version does not bring others.
	Text string
	// Origins are the numbers by which slots name its listeners (Slot.SetOrigin).
	Origins map[string]uint32
}

// MaxOrigin is the highest number that a slot can hold.
const MaxOrigin = 1<<(32-originShift) - 1

// maxSettings bounds what is read: far more than the configurations of a daemon that is reloaded all day.
const maxSettings = 64 << 20

// Save writes the settings to a new file, and returns its descriptor.
func (s Settings) Save() (fd int, err error) {
	text, err := json.Marshal(s)
	if err != nil {
		return -1, err
	}
	fd, err = unix.MemfdCreate("tcpmux-settings", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if err = writeAll(fd, text); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
		err = os.NewSyscallError("fcntl", err)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func writeAll(fd int, text []byte) error {
	for len(text) > 0 {
		n, err := unix.Write(fd, text)
		if err != nil && err != unix.EINTR {
			return os.NewSyscallError("write", err)
		}
		text = text[max(n, 0):]
	}
	return nil
}

// LoadSettings reads what Save has written. The file stays open.
func LoadSettings(file io.ReaderAt) (s Settings, err error) {
	text, err := io.ReadAll(io.NewSectionReader(file, 0, maxSettings))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return Settings{}, fmt.Errorf("settings of connections: %w", err)
	}
	return s, nil
}

// Begun returns the configuration that has a listener of that origin, and the listener's name.
func (s Settings) Begun(origin uint32) (t Text, listener string, found bool) {
	for _, t := range s.Texts {
		for name, o := range t.Origins {
			if o == origin {
				return t, name, true
			}
		}
	}
	return Text{}, "", false
}
