package daemon

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpmux/config"
	"tcpmux/daemon/control/api"
)

// diskState is what is known of files on disks. It is safe for concurrent use.
type diskState struct {
	asking sync.Mutex // held while the disk is asked
	mu     sync.Mutex
	known  map[string]diskFile
}

// diskFile is the size of a file and what is free on its file system.
type diskFile struct{ size, free int64 }

// diskPatience is how long an answer waits for the disk.
const diskPatience = 500 * time.Millisecond

// fill fills in what the disk knows of files: what it knew before while it does not answer.
func (s *diskState) fill(files []api.File) {
	done := make(chan struct{})
	if s.asking.TryLock() {
		paths := make([]string, len(files))
		for i := range files {
			paths[i] = files[i].Path
		}
		go func() {
			defer close(done)
			defer s.asking.Unlock()
			s.ask(paths)
		}()
		select {
		case <-done:
		case <-time.After(diskPatience):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range files {
		if known, ok := s.known[files[i].Path]; ok {
			files[i].Size, files[i].Free = known.size, known.free
		}
	}
}

func (s *diskState) ask(paths []string) {
	known := map[string]diskFile{}
	for _, path := range paths {
		info, err := os.Stat(path)
		var st unix.Statfs_t
		if path == config.Stdout || err != nil || unix.Statfs(path, &st) != nil {
			continue
		}
		known[path] = diskFile{info.Size(), int64(st.Bavail) * int64(st.Bsize)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
}
