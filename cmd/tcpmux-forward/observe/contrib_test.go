package observe

import (
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tcpmux/cmd/tcpmux-forward/api"
)

var (
	metricName = regexp.MustCompile(`\b(?:tcpmux|go)_[a-z_]+`)
	familyName = regexp.MustCompile(`(?m)^# TYPE (\S+) `)
)

// TestAlertRules holds the shipped alerts against their own tests.
func TestAlertRules(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "tcpmux-forward.rules.yml"}, {"test", "rules", "tcpmux-forward.rules.test.yml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = "../../../contrib/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: got %v and\n%s, want no error (as root, apt-get install prometheus)", strings.Join(args, " "), err, out)
		}
	}
}

// TestShippedQueriesNameMetricsThatExist holds that neither an alert nor a panel of the dashboard
// asks for a metric that a forwarder does not have.
func TestShippedQueriesNameMetricsThatExist(t *testing.T) {
	have := families()
	for path, want := range map[string]int{"../../../contrib/prometheus/tcpmux-forward.rules.yml": 8, "../../../contrib/grafana/tcpmux-forward.json": 12} {
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
			if !slices.Contains(have, name) {
				t.Errorf("%s: got %s, which a forwarder does not have", path, name)
			}
		}
	}
}

// families are the metrics, in the order in which they are written.
func families() (names []string) {
	for _, m := range familyName.FindAllStringSubmatch(string(Metrics(busy())), -1) {
		names = append(names, m[1])
	}
	return names
}

// section returns a section of the manual page.
func section(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../../packaging/man/tcpmux-forward.1.tail")
	if err != nil {
		t.Fatal(err)
	}
	_, body, found := strings.Cut(string(text), ".SH "+name+"\n")
	if !found {
		t.Fatalf("got no section %s", name)
	}
	body, _, _ = strings.Cut(body, "\n.SH ")
	return body
}

// TestTheManualListsEveryMetric, in the order in which they are written, and no others.
func TestTheManualListsEveryMetric(t *testing.T) {
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\.B (\S+)$`).FindAllStringSubmatch(section(t, "METRICS"), -1) {
		got = append(got, m[1])
	}
	if want := families(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestTheManualListsEveryField of the JSON, and no others.
func TestTheManualListsEveryField(t *testing.T) {
	term := regexp.MustCompile(`(?m)^\.TP.*\n\.B "?([a-z_, ]+)"?$`)
	got := map[string][]string{}
	for _, part := range strings.Split(section(t, "FIELDS"), "\n.SS ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		for _, m := range term.FindAllStringSubmatch(body, -1) {
			got[name] = append(got[name], strings.Split(m[1], ", ")...)
		}
	}
	for name, value := range map[string]any{"STATUS": api.Status{}, "LAG": api.Lag{}, "FILE": api.File{}} {
		var want []string
		for i := range reflect.TypeOf(value).NumField() {
			field, _, _ := strings.Cut(reflect.TypeOf(value).Field(i).Tag.Get("json"), ",")
			want = append(want, field)
		}
		slices.Sort(want)
		slices.Sort(got[name])
		if !slices.Equal(got[name], want) {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
}
