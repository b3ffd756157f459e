package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tcpmux/cmd/tcpmux-forward/api"
	"tcpmux/cmd/tcpmux-forward/natstest"
	"tcpmux/cmd/tcpmux-forward/observe"
	"tcpmux/daemon/record"
	"tcpmux/daemon/recordfile"
)

// leastLag is how much is to be delivered.
const leastLag = 128 << 20

// TestMemoryIsBoundedWhateverTheLag delivers several files, plain and compressed, of several
// listeners, with many short records and long ones among them: as long as a server takes by
// default, and as long as the daemon makes. tcpmux-forward.service says what that may need.
func TestMemoryIsBoundedWhateverTheLag(t *testing.T) {
	for _, c := range []struct {
		version string
		longest int // message
		config  string
		most    int64 // bytes of memory
	}{
		{natstest.Newest, 700_000, "", 64 << 20},
		{"2.10", 16 << 20, "max_payload: 64MB\nmax_pending: 128MB", 128 << 20},
	} {
		t.Run(fmt.Sprintf("%s to %d", c.version, c.longest), func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, c.version, natstest.Options{Config: c.config})
			own := t.TempDir()
			config, state := written(t, fmt.Sprintf("servers = [%q]\ncreate = true\nhost = \"web1\"\n"+
				"[[listener]]\nname = \"own\"\naddress = \"127.0.0.1:2\"\nfile = %q\n", s.URL, filepath.Join(own, "own.log")))
			total := int64(0)
			for i, path := range []string{filepath.Join(filepath.Dir(config), "records.log"), filepath.Join(own, "own.log")} {
				total += backlog(t, path, leastLag/2, c.longest, rand.New(rand.NewPCG(uint64(i), 1)))
			}
			cmd := program(t, "--config", config)
			log := started(t, cmd)
			awaitDelivery(t, filepath.Join(state, "control"), total, log)
			got := mostResident(t, cmd.Process.Pid)
			t.Logf("%d MiB delivered with %.1f MiB", total>>20, float64(got)/(1<<20))
			if got > c.most {
				t.Errorf("got %d bytes resident, want at most %d", got, c.most)
			}
		})
	}
}

// mostResident returns how much memory a process had at most (VmHWM in proc_pid_status(5)).
func mostResident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// awaitDelivery waits until a forwarder has delivered so many bytes, and has no more.
func awaitDelivery(t *testing.T, socket string, total int64, log *output) {
	t.Helper()
	var got api.Status
	for before, stalled := int64(0), 0; got.State != api.Idle || got.Bytes == 0 || got.Lag.Bytes != 0; stalled++ {
		time.Sleep(10 * time.Millisecond)
		if s, err := observe.Ask(t.Context(), socket); err == nil {
			got = s
		}
		if got.Bytes > before {
			before, stalled = got.Bytes, 0
		}
		if stalled == 6000 {
			t.Fatalf("got %+v and log %q, want all delivered", got, log)
		}
	}
	if got.Bytes != total {
		t.Errorf("got %d bytes delivered, want %d", got.Bytes, total)
	}
}

// backlog writes record files of a size in all: the path, and the files that it was rotated to, of
// which one is compressed. It returns how many bytes they have uncompressed. They have the same
// records but for the first one.
func backlog(t *testing.T, path string, size, longest int, rnd *rand.Rand) (total int64) {
	t.Helper()
	const files = 5
	text := randomText(rnd, 1<<20)
	e := record.NewEncoder(record.JSON)
	line := func(lines []byte, session, length int) []byte {
		e.Begin(&record.Source{Listener: "main", Session: fmt.Sprintf("0f3c5a7e-%x", session), Remote: "192.0.2.7:40312"}, time.Now())
		return e.Message(lines, &record.Message{Raw: bytes.Repeat(text, 1+length/len(text))[:length]})
	}
	lines := line(nil, files, longest)
	for len(lines) < 4<<20 {
		lines = line(lines, files, 100+rnd.IntN(3000))
	}
	for i := range files {
		all := append(line(nil, i, 100), bytes.Repeat(lines, size/files/len(lines)+1)...)
		total += int64(len(all))
		b := recordfile.Backup{Of: path, At: time.Now().Add(time.Duration(i-files) * time.Hour), Packed: i == 1}
		switch {
		case i == files-1:
			put(t, path, all)
		case b.Packed:
			var packed bytes.Buffer
			z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // which exists
			_, _ = z.Write(all)                                  // a buffer takes everything
			_ = z.Close()
			put(t, b.Path(), packed.Bytes())
		default:
			put(t, b.Path(), all)
		}
	}
	return total
}
