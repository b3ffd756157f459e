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
	config diskConfig
}

// diskConfig is the fingerprint of the configuration on disk when that of inForce was in force.
type diskConfig struct{ onDisk, inForce string }

// diskFile is the size of a file and what is free on its file system.
type diskFile struct{ size, free int64 }

// diskPatience is how long an answer waits for the disk.
const diskPatience = 500 * time.Millisecond

// fill fills in what the disk knows of the files in a status, and whether the configuration differs
// from cfg, which is in force: what it knew before while it does not answer.
func (s *diskState) fill(status *api.Status, cfg config.Config) {
	files := status.Files
	done := make(chan struct{})
	if s.asking.TryLock() {
		paths := make([]string, len(files))
		for i := range files {
			paths[i] = files[i].Path
		}
		go func() {
			defer close(done)
			defer s.asking.Unlock()
			s.ask(paths, cfg)
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
	if s.config.inForce == cfg.Fingerprint && s.config.onDisk != cfg.Fingerprint {
		status.Config.Differs = true
	}
}

func (s *diskState) ask(paths []string, cfg config.Config) {
	known, c := map[string]diskFile{}, diskConfig{inForce: cfg.Fingerprint}
	for _, path := range paths {
		info, err := os.Stat(path)
		var st unix.Statfs_t
		if path == config.Stdout || err != nil || unix.Statfs(path, &st) != nil {
			continue
		}
		known[path] = diskFile{info.Size(), int64(st.Bavail) * int64(st.Bsize)}
	}
	if cfg.Fingerprint != "" {
		c.onDisk = config.FingerprintOf(cfg.Path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.config = known, c
}
