package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
)

// TestWhatARecordSays: a Record has what its line says, and its end.
func TestWhatARecordSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, path, recs(7, 1))
	r := read(t, path)
	if _, err := r.next(10); err != nil {
		t.Fatal(err)
	}
	got := r.b.Records[0]
	if got.Kind != record.KindMessage || got.Listener != "lab" || got.Session != "8f3a-7" || got.Remote != "192.0.2.7:40312" ||
		got.Offset != 7 || !got.Time.Equal(time.Unix(1_800_000_007, 0)) {
		t.Errorf("got %+v", got)
	}
	end := delivery.Position{Key: delivery.KeyOf(path), Mark: probe(path).mark, Offset: int64(len(recs(7, 1)))}
	if got.End != end || r.b.Cursor[0] != end || r.b.Bytes != end.Offset {
		t.Errorf("got end %v, cursor %v, %d bytes, want %v", got.End, r.b.Cursor, r.b.Bytes, end)
	}
}

// TestWhatIsNoRecordIsPassedOver, and told of once.
func TestWhatIsNoRecordIsPassedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	bad := "2026-11-22T12:00:05.001234Z from 192.0.2.7:1: text\n"
	damaged := strings.Replace(recs(2, 1), "text", "te\x01t", 1)
	hole := strings.Repeat("\x00", 5000)
	put(t, rotatedName(path, 1), recs(1, 1)+bad+"\n"+damaged+hole+recs(3, 1)+`{"time":"20`)
	put(t, path, recs(4, 1)+recs(5, 1)[:20])
	r := read(t, path)
	r.wants(recs(1, 1) + recs(3, 1) + recs(4, 1))
	first := int64(len(recs(1, 1)))
	torn := first + int64(len(bad)+1+len(damaged)+len(hole)+len(recs(3, 1)))
	want := []int64{first, first + int64(len(bad)), first + int64(len(bad)) + 1, first + int64(len(bad)+1+len(damaged)), torn}
	if len(r.faults) != len(want) {
		t.Fatalf("got %+v, want %d", r.faults, len(want))
	}
	for i, f := range r.faults {
		if f.Offset != want[i] || f.File != rotatedName(path, 1) || f.Path != path || f.What == "" {
			t.Errorf("got %+v, want offset %d", f, want[i])
		}
	}
	if err := r.Seek(nil); err != nil {
		t.Fatal(err)
	}
	add(t, path, recs(5, 1)[20:])
	r.wants(recs(1, 1) + recs(3, 1) + recs(4, 2))
	if len(r.faults) != len(want)+0 {
		t.Errorf("got %d faults when it was read again, want none more than %d", len(r.faults), len(want))
	}
}

// TestOnlyDurableRecords: what was not synced, or was cut back right after it was written, is not
// handed out.
func TestOnlyDurableRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, path, recs(1, 2))
	r := read(t, path)
	fail, syncs := errors.New("disk error"), 0
	r.datasync = func(*os.File) error { syncs++; return fail }
	r.wants("")
	r.wantsError("disk error")
	// It is told of while the next sync is under way, too.
	hold := make(chan struct{})
	held := r.datasync
	r.datasync = func(f *os.File) error { <-hold; return held(f) }
	for {
		if _, err := r.look(r.lanes[0], &r.b, limits{records: 10, bytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		if r.lanes[0].src.sync != nil {
			break
		}
		if err := r.pause(t.Context(), syncRetry); err != nil {
			t.Fatal(err)
		}
	}
	r.wantsError("disk error")
	close(hold)
	r.wants("")
	fail = nil
	r.datasync = func(f *os.File) error {
		if syncs++; f != nil && syncs%2 == 0 {
			// The daemon cuts back what it could not sync, between the two looks.
			return os.Truncate(path, int64(len(recs(1, 1))))
		}
		return nil
	}
	if syncs%2 == 0 {
		syncs++
	}
	r.wants(recs(1, 1))
	r.wantsError("")
	before := syncs
	r.wants("")
	if syncs != before {
		t.Errorf("got %d syncs of a file that does not change, want none", syncs-before)
	}
	add(t, path, recs(3, 1))
	syncs = 0
	r.wants(recs(3, 1))
	if syncs != 1 {
		t.Errorf("got %d syncs for one record, want 1", syncs)
	}
}

// TestNothingIsHandedOutBeforeASecondLook: the first look is not enough.
func TestNothingIsHandedOutBeforeASecondLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, path, recs(1, 1))
	r := read(t, path)
	begin := r.now()
	r.wants1(recs(1, 1))
	if took := r.now().Sub(begin); took < settle {
		t.Errorf("got a record %v after its file was looked at first, want %v", took, settle)
	}
	// A file that is finished needs one sync and no second look.
	r = read(t, path)
	put(t, rotatedName(path, 1), recs(0, 1))
	begin = r.now()
	r.wants1(recs(0, 1))
	if took := r.now().Sub(begin); took >= settle {
		t.Errorf("got a record of a finished file after %v, want it at once", took)
	}
}

// TestRecordsOfTLSClients are read as others are, whatever a client calls itself, also those that
// are too long to be parsed completely.
func TestRecordsOfTLSClients(t *testing.T) {
	e := record.NewEncoder(record.JSON)
	e.Begin(&record.Source{Listener: "lab", Session: "8f3a-1", Remote: "192.0.2.7:40312", TLS: &record.TLS{
		Version: "1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: "\xff", Subject: `CN=","offset":1,"data":"x"}\,O="` + "\n\u2028",
	}}, time.Unix(1_800_000_007, 0))
	long := &record.Message{Offset: 9, Raw: []byte(strings.Repeat("x", longLine))}
	lines := string(e.Open(nil)) + string(e.Message(nil, &record.Message{Offset: 7, Raw: []byte("a")})) + string(e.Message(nil, long)) + string(e.Close(nil, "eof", 2, 9))
	path := filepath.Join(t.TempDir(), "records.log")
	put(t, path, lines)
	r := read(t, path)
	var got string
	var records []Record
	for len(records) < 4 {
		some, err := r.next(10)
		if err != nil || len(r.faults) > 0 {
			t.Fatalf("got %v and %+v, want a record", err, r.faults)
		}
		got += some
		records = append(records, r.b.Records...)
	}
	if got != lines {
		t.Fatalf("got %d bytes, want all %d", len(got), len(lines))
	}
	for i, want := range []Record{
		{Kind: record.KindOpen}, {Kind: record.KindMessage, Offset: 7}, {Kind: record.KindMessage, Offset: 9}, {Kind: record.KindClose},
	} {
		got := records[i]
		if got.Kind != want.Kind || got.Offset != want.Offset || got.Session != "8f3a-1" || got.Remote != "192.0.2.7:40312" || got.Listener != "lab" {
			t.Errorf("record %d: got %+v, want %+v", i, got, want)
		}
	}
}
