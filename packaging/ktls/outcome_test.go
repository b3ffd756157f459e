package ktls

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseOutcome(t *testing.T) {
	const well = "=== RUN   TestA\n--- PASS: TestA (0.10s)\n    --- PASS: TestA/b (0.00s)\n--- SKIP: TestB (0.00s)\nPASS\n"
	for _, test := range []struct {
		name, tests, console, want string
	}{
		{"all pass", well + "ktls: status 0\n", "", ""},
		{"one fails", well + "--- FAIL: TestC (1.00s)\nFAIL\nktls: status 1\n", "", `the tests ended with exit status 1; failed: ["TestC"]`},
		{"one fails, status 0", "--- FAIL: TestC (1.00s)\nktls: status 0\n", "", `the tests ended with exit status 0; failed: ["TestC"]`},
		{"killed", well + "ktls: status 137\n", "", `the tests ended with exit status 137; failed: []`},
		{"no tests", "testing: warning: no tests to run\nPASS\nktls: status 0\n", "", "no test has run"},
		{"nothing", "", "", "the machine ended before the tests said their exit status"},
		{"cut off", well, "", "the machine ended before the tests said their exit status"},
		{"cut off in the status", well + "ktls: status 0", "", "the machine ended before the tests said their exit status"},
		{"status is not the last line", "ktls: status 0\n" + well, "", "the machine ended before the tests said their exit status"},
		{"status within a line", well + "a test says ktls: status 0\n", "", "the machine ended before the tests said their exit status"},
		{"panic", well, "[ 1.0] Kernel panic - not syncing: Oops\n", "the kernel panicked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := ParseOutcome(test.tests, test.console)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got error %q, want %q", got, test.want)
			}
			if strings.HasPrefix(test.tests, well) {
				if got, want := fmt.Sprint(o.Passed, o.Skipped), "[TestA] [TestB]"; got != want {
					t.Errorf("got passed and skipped %s, want %s", got, want)
				}
			}
		})
	}
}
