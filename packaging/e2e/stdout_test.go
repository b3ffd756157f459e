//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestRecordsGoToTheJournal: file = "-" is the standard output of the service, from a reload on and
// over a restart, each record once.
func TestRecordsGoToTheJournal(t *testing.T) {
	r := serving(t)
	r.check = func() {} // the journal has them
	r.mustVisit()
	r.edit(toml, `file = "records.log"`, `file = "-"`)
	r.reload()
	for visits := 1; visits <= 3; visits++ {
		r.mustVisit()
		r.await("close record in the journal", func() bool { return r.count(": eof, 3 records, ") == visits })
		messages := 0
		for line := range strings.Lines(r.journal()) {
			if message.MatchString(strings.TrimSuffix(line, "\n")) {
				messages++
			}
		}
		if want := 3 * visits; messages != want {
			t.Errorf("messages in the journal: got %d, want %d", messages, want)
		}
		r.run("systemctl", "restart", "tcpmux.service")
	}
	if got := strings.Count(r.read(records), ": eof, 3 records, "); got != 1 {
		t.Errorf("%s: got %d visits, want the one before the reload", records, got)
	}
}
