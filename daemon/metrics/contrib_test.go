package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	metricName = regexp.MustCompile(`\b(?:tcpmux|go)_[a-z_]+`)
	familyName = regexp.MustCompile(`(?m)^# TYPE (\S+) `)
)

// TestAlertRules holds the shipped alerts against their own tests.
func TestAlertRules(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "tcpmux.rules.yml"}, {"test", "rules", "tcpmux.rules.test.yml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = "../../contrib/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: got %v and\n%s, want no error (as root, apt-get install prometheus)", strings.Join(args, " "), err, out)
		}
	}
}

// TestShippedQueriesNameMetricsThatExist holds that neither an alert nor a panel of the dashboard
// asks for a metric that the daemon does not have.
func TestShippedQueriesNameMetricsThatExist(t *testing.T) {
	have := map[string]bool{}
	for _, m := range familyName.FindAllStringSubmatch(written(t, sample()), -1) {
		have[m[1]] = true
	}
	for path, want := range map[string]int{"../../contrib/prometheus/tcpmux.rules.yml": 8, "../../contrib/grafana/tcpmux.json": 20} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, ".json") && !json.Valid(text) {
			t.Errorf("%s: got no valid JSON", path)
		}
		names := metricName.FindAllString(string(text), -1)
		if len(names) < want {
			t.Errorf("%s: got %d names of metrics, want at least %d", path, len(names), want)
		}
		for _, name := range names {
			if !have[name] && !have[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s: got %s, which the daemon does not have", path, name)
			}
		}
	}
}

// TestTheManualListsEveryMetric, in the order in which they are written, and no others.
func TestTheManualListsEveryMetric(t *testing.T) {
	manual, err := os.ReadFile("../../packaging/man/tcpmux-control.7")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(manual), "\n.SH METRICS\n")
	if !found {
		t.Fatal("got no section METRICS")
	}
	section, _, _ = strings.Cut(section, "\n.SH ")
	names := func(re *regexp.Regexp, text string) (all []string) {
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		return all
	}
	s := sample()
	s.BatchRecords = s.MessageSize
	got, want := names(regexp.MustCompile(`(?m)^\.B (\S+)$`), section), names(familyName, written(t, s))
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
