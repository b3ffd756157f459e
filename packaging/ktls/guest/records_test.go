//go:build ktlsguest

package guest

import (
	"encoding/json"
	"os"
	"testing"
)

// recorded is a record.
type recorded struct {
	Kind, Listener, Mux, Session, Remote, Subject, Data, End, Flag, Reason string

	Offset, Bytes int64
	TLS           *struct{ Subject string }
}

// readRecords has each record of a file looked at.
func readRecords(t *testing.T, path string, look func(r *recorded)) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for decoder := json.NewDecoder(file); decoder.More(); {
		var r recorded
		if err := decoder.Decode(&r); err != nil {
			t.Fatal(err)
		}
		look(&r)
	}
}
