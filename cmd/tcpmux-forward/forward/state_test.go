package forward

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tcpmux/cmd/tcpmux-forward/stream"
	"tcpmux/config"
	"tcpmux/daemon/delivery"
)

func forwarding(t *testing.T) config.Config {
	t.Helper()
	cfg := config.Default()
	cfg.Forward.Servers = []string{"nats://127.0.0.1:4222"}
	cfg.Forward.State, cfg.Forward.Host = t.TempDir(), "box"
	cfg.Forward.Keep = 5 * time.Minute
	return cfg
}

func opened(t *testing.T, cfg config.Config) *journal {
	t.Helper()
	j, err := openJournal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closed(t *testing.T, j *journal) {
	t.Helper()
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
}

func TestTheStateIsLockedAndOutlivesTheProcess(t *testing.T) {
	cfg := forwarding(t)
	j := opened(t, cfg)
	if _, err := openJournal(cfg); err == nil || !strings.Contains(err.Error(), "systemctl stop tcpmux-forward") {
		t.Errorf("got %v from a second one, want the next step", err)
	}
	this := delivery.Stream{Name: "T", Created: time.Unix(5, 0).UTC()}
	j.names([]string{"/var/log/tcpmux/records.log"})
	j.acknowledged(this, 7, at("A", 7))
	closed(t, j)
	j = opened(t, cfg)
	defer closed(t, j)
	want := delivery.State{Version: 1, Stream: this, Sequence: 7, Delivered: at("A", 7),
		Paths: map[delivery.Key]string{delivery.KeyOf("/var/log/tcpmux/records.log"): "/var/log/tcpmux/records.log"}}
	j.state.Next = delivery.Moment{}
	if !reflect.DeepEqual(j.state, want) {
		t.Errorf("got %+v, want %+v", j.state, want)
	}
}

func TestADamagedStateSaysWhatToDo(t *testing.T) {
	cfg := forwarding(t)
	if err := os.WriteFile(delivery.Path(cfg.Forward.State), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(cfg); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("got %v, want the next step", err)
	}
}

// TestFilesAreKeptForAWhile and then let go of, also when nothing more is delivered.
func TestFilesAreKeptForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := opened(t, forwarding(t))
		defer closed(t, j)
		begin := time.Now()
		for i := range int64(400) {
			j.acknowledged(delivery.Stream{}, uint64(i), at("A", i))
			time.Sleep(time.Second)
			if err := j.tick(time.Now()); err != nil {
				t.Fatal(err)
			}
			const keep, step = 5 * time.Minute, 15 * time.Second
			age := time.Since(begin) // of what is kept
			if len(j.state.Kept) > 0 {
				age -= time.Duration(j.state.Kept[0].Offset+1) * time.Second
			}
			if age > keep+step || len(j.state.Kept) > 0 && age < keep-time.Second {
				t.Fatalf("after %v: got what was delivered %v ago as kept, want about %v", time.Since(begin), age, keep)
			}
			if most := pastSteps + 2; len(j.past) > most {
				t.Fatalf("got %d moments, want at most %d", len(j.past), most)
			}
		}
		for range 320 {
			time.Sleep(time.Second)
			if err := j.tick(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(j.state.Kept, at("A", 399)) {
			t.Errorf("got %v as kept, want all that was delivered", j.state.Kept)
		}
		saved, err := delivery.Load(j.dir)
		if err != nil || !reflect.DeepEqual(saved.Kept, j.state.Kept) {
			t.Errorf("got %v, %v on disk, want %v", saved.Kept, err, j.state.Kept)
		}
	})
}

func TestWhatTheStreamLostIsKeptAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := opened(t, forwarding(t))
		defer closed(t, j)
		this := delivery.Stream{Name: "T"}
		j.acknowledged(this, 100, at("A", 100))
		for range 700 {
			time.Sleep(time.Second)
			if err := j.tick(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		j.adopt(stream.Last{Found: true, Stream: this, Sequence: 40}, start{cursor: at("A", 40), lost: true})
		if !reflect.DeepEqual(j.state.Kept, at("A", 40)) || j.state.Sequence != 40 {
			t.Errorf("got %v as kept and %d, want what the stream has", j.state.Kept, j.state.Sequence)
		}
		// It is lost once, not at every connection.
		j.adopt(stream.Last{Stream: this}, start{lost: true})
		if j.state.Sequence != 0 || len(j.state.Kept) != 0 {
			t.Errorf("got %d and %v, want nothing", j.state.Sequence, j.state.Kept)
		}
	})
}

func TestSkipAndAcceptHoldUntilSomethingIsAcknowledged(t *testing.T) {
	j := opened(t, forwarding(t))
	defer closed(t, j)
	j.state = delivery.State{Sequence: 3, Delivered: at("A", 3), Skip: true, Accept: true, Paths: map[delivery.Key]string{}}
	j.adopt(stream.Last{Found: true, Sequence: 9, Cursor: at("A", 1)}, start{cursor: at("A", 3)})
	if !j.state.Skip || !j.state.Accept || j.state.Sequence != 3 {
		t.Errorf("got %+v, want it as it was", j.state)
	}
	j.acknowledged(delivery.Stream{}, 10, at("A", 4))
	if j.state.Skip || j.state.Accept || j.state.Sequence != 10 {
		t.Errorf("got %+v, want neither skip nor accept", j.state)
	}
}
