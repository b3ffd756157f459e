package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Settings are the configurations that connections began with. They are stored in a file in memory
// of their own. When they change, a new file replaces the file, which itself is never changed: so
// there is no moment at which a process could leave half of it.
type Settings struct {
	// Serial increases with each file.
	Serial int64
	// Texts are the configurations. The last one is in force.
	Texts []Text
}

// Text is one configuration.
type Text struct {
	// Path is the file that the configuration was read from.
	Path string
	// Text is the content with all defaults, because another version may have other defaults.
	Text string
	// Origins are the numbers by which slots refer to its listeners (Slot.SetOrigin).
	Origins map[string]uint32
}

// MaxOrigin is the highest origin that a slot can hold.
const MaxOrigin = 1<<(32-originShift) - 1

// maxSettings bounds what is read. It is far more than a daemon needs that is reloaded all day.
const maxSettings = 64 << 20

// Save writes the settings to a new file, and returns its descriptor, which the caller closes.
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
		const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
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

// LoadSettings reads settings that Save has written. It does not close the file.
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
