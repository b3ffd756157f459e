package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
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
