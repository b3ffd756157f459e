// Package ktls boots Debian's kernels in QEMU and runs the tests of package guest there, as kernel
// TLS is a module that the machine which tests run on may not have. Run them by "make e2e-ktls",
// which builds what they need.
package ktls

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Outcome is what a machine has done.
type Outcome struct {
	Passed, Failed, Skipped []string // the names of tests, without subtests
	// Each of those, as "go test -v" reports it, with its duration.
	Lines []string
}

var (
	// init writes the last line when the tests have ended, and nothing after it.
	status = regexp.MustCompile(`(?:^|\n)ktls: status (\d+)\n$`)
	result = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+) \(.*\)$`)
)

// ParseOutcome reads what a machine has written: the tests by one serial port, the kernel by the
// other. It returns an error if the tests have not all ended well, or if it is not known whether
// they have. The outcome is valid in either case.
func ParseOutcome(tests, console string) (Outcome, error) {
	var o Outcome
	for _, m := range result.FindAllStringSubmatch(tests, -1) {
		o.Lines = append(o.Lines, m[0])
		names := map[string]*[]string{"PASS": &o.Passed, "FAIL": &o.Failed, "SKIP": &o.Skipped}[m[1]]
		*names = append(*names, m[2])
	}
	ended := status.FindStringSubmatch(tests)
	switch {
	case ended == nil && strings.Contains(console, "Kernel panic"):
		return o, errors.New("the kernel panicked")
	case ended == nil:
		return o, errors.New("the machine ended before the tests said their exit status")
	case ended[1] != "0" || len(o.Failed) > 0:
		return o, fmt.Errorf("the tests ended with exit status %s; failed: %q", ended[1], o.Failed)
	case len(o.Passed)+len(o.Skipped) == 0:
		return o, errors.New("no test has run")
	}
	return o, nil
}
