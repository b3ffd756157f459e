package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"slices"
	"strings"
	"testing"
)

var sample = Result{
	Workload: "lines", Address: "127.0.0.1:1", Clients: 64, Size: 100, Ended: EndedByDuration, Seconds: 2, Unit: "lines", Done: 12345, Rate: 6172.5,
	Bytes: 1234500, Latency: Latency{Of: lineWrite, Count: 12345, Min: 0.001, Mean: 0.5, P50: 0.25, P90: 1.5, P99: 20, P999: 900, Max: 1500},
	Errors: map[Kind]int64{Reset: 1, Timeout: 20},
}

var sampleComparison = Comparison{Workload: "visits", Clients: 64, Unit: "visits", Runs: 3, Servers: []Entry{
	{Server: "tcpmux goroutine", Runs: 3, Rate: 10000, P50: 2, P99: 4, CPU: 50},
	{Server: "reference <thread>", Runs: 3, Rate: 2500, P50: 8, P99: 12, CPU: 500, Errors: map[Kind]int64{Reset: 2}},
}, Skipped: []string{"reference process: no"}}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := sample.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lines: 127.0.0.1:1, 64 clients, 100-byte lines (until the time was over)\n", "12,345 in 2.000 s\n",
		"6,172/s, 0.6 MB/s\n", "timeout 20, reset 1\n", "    50 %        250.0 µs\n", "1.50 ms\n", "1.50 s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", b.String(), want)
		}
	}
}

// full takes what is written after its first write, as a disk may on which somebody has made room.
type full struct{ failed bool }

func (f *full) Write(p []byte) (int, error) {
	if f.failed {
		return len(p), nil
	}
	f.failed = true
	return 0, io.ErrShortWrite
}

func TestTableThatIsNotWholeIsAnError(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{"result": sample.WriteTable, "comparison": sampleComparison.WriteTable} {
		if err := write(&full{}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: got error %v, want %v", name, err, io.ErrShortWrite)
		}
	}
}

func TestJSONSchema(t *testing.T) {
	var b bytes.Buffer
	if err := sample.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	sameKeys(t, b.Bytes(), "workload address clients size ended seconds unit done rate bytes latency errors")
	var back Result
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Latency != sample.Latency || back.Errors[Timeout] != 20 {
		t.Errorf("got %+v (%v), want %+v", back, err, sample)
	}
	b.Reset()
	if err := sampleComparison.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	sameKeys(t, b.Bytes(), "workload clients unit runs servers skipped interrupted")
	var c struct{ Servers []json.RawMessage }
	if err := json.Unmarshal(b.Bytes(), &c); err != nil || len(c.Servers) != 2 {
		t.Fatalf("got %d servers (%v), want 2", len(c.Servers), err)
	}
	sameKeys(t, c.Servers[0], "server runs done rate rate_ratio p50_ms p50_ratio p99_ms p99_ratio cpu_us cpu_ratio errors")
}

func sameKeys(t *testing.T, object []byte, keys string) {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(keys)
	for _, k := range want {
		if _, ok := fields[k]; !ok {
			t.Errorf("%s: no key %q", object, k)
		}
	}
	if len(fields) != len(want) {
		t.Errorf("%s: got %d keys, want %d", object, len(fields), len(want))
	}
}

func TestCSVSchema(t *testing.T) {
	for name, c := range map[string]struct {
		write func(io.Writer) error
		rows  int
		first string
	}{
		"result":     {sample.WriteCSV, 2, "workload,address,clients,size,ended,seconds,unit,done,rate,bytes,latency_of"},
		"comparison": {sampleComparison.WriteCSV, 3, "workload,clients,size,unit,server,runs,done,rate,rate_ratio,p50_ms"},
	} {
		var b bytes.Buffer
		if err := c.write(&b); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll() // which wants as many fields in each
		if err != nil || len(rows) != c.rows || !strings.HasPrefix(strings.Join(rows[0], ","), c.first) {
			t.Errorf("%s: got %q (%v), want %d rows below %s", name, rows, err, c.rows, c.first)
		}
	}
}

func TestErrHasAHint(t *testing.T) {
	for _, c := range []struct {
		r    Result
		want string
	}{
		{Result{Unit: "visits", Done: 5}, ""},
		{Result{Address: "a:1", Unit: "visits", Errors: map[Kind]int64{Refused: 2000}}, `bench "a:1": 2,000 visits failed: refused 2,000; is the server running?`},
		{Result{Address: "a:1", Unit: "lines", Errors: map[Kind]int64{Timeout: 3}}, `bench "a:1": 3 clients failed: timeout 3; for a server that does not greet: --greeting=false`},
		{Result{Address: "a:1", Unit: "lines", Done: 9, Errors: map[Kind]int64{Timeout: 3, Reset: 4}}, `bench "a:1": 7 clients failed: reset 4, timeout 3`},
	} {
		if err := c.r.Err(); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestComparisonTable(t *testing.T) {
	c := sampleComparison
	c.Servers = slices.Clone(c.Servers)
	c.ratios()
	var b bytes.Buffer
	if err := c.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"visits, 64 clients: medians of 3 runs", "10,000  (1.00)", "2,500  (0.25)", "(4.00)", "(10.00)", "reset 2", "not measured: reference process: no\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", b.String(), want)
		}
	}
}

func TestMedian(t *testing.T) {
	of := func(t trial) float64 { return t.Rate }
	trials := []trial{{Result: Result{Rate: 9}}, {Result: Result{Rate: 1}}, {Result: Result{Rate: 4}}}
	if got := median(trials, of); got != 4 {
		t.Errorf("of 3: got %v, want 4", got)
	}
	if got := median(trials[:2], of); got != 5 {
		t.Errorf("of 2: got %v, want 5", got)
	}
}

func TestPlotIsAPicture(t *testing.T) {
	picture, err := sampleComparison.Plot("svg")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("svg: %v", err)
		}
		if c, ok := token.(xml.CharData); ok {
			texts = append(texts, string(c))
		}
	}
	for _, want := range []string{"tcpmux goroutine", "reference <thread>", "visits a second: more is better", "10,000", "12.0", "99 %"} {
		if !slices.Contains(texts, want) {
			t.Errorf("svg: got %q, want %q among them", texts, want)
		}
	}

	picture, err = sampleComparison.Plot("png")
	if err != nil {
		t.Fatal(err)
	}
	if image, err := png.Decode(bytes.NewReader(picture)); err != nil || image.Bounds().Dx() != plotWidth || image.Bounds().Dy() != plotHeight {
		t.Errorf("png: got %v (%v), want %d x %d", image, err, plotWidth, plotHeight)
	}
}

func TestPlotFormat(t *testing.T) {
	for path, want := range map[string]string{"a.svg": "svg", "b/A.PNG": "png", "a.jpg": "", "svg": ""} {
		if got, err := PlotFormat(path); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q (%v), want %q", path, got, err, want)
		}
	}
}
