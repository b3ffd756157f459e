package prometheus

import "testing"

func TestText(t *testing.T) {
	var x Text
	x.Family("gauge", "a", "What a is.")
	x.Sample(0.5)
	x.Sample(1, "one", "x", "two", "a\"b\\c\nd\xff")
	x.Family("histogram", "b", "What b is.")
	x.Histogram(Histogram{Bounds: []float64{1}, Counts: []int64{2, 3}, Sum: 9}, "one", "x")
	const want = "# HELP a What a is.\n# TYPE a gauge\na 0.5\n" +
		`a{one="x",two="a\"b\\c\nd` + "\ufffd" + `"} 1` + "\n" +
		"# HELP b What b is.\n# TYPE b histogram\n" +
		`b_bucket{one="x",le="1"} 2` + "\n" + `b_bucket{one="x",le="+Inf"} 5` + "\n" +
		`b_sum{one="x"} 9` + "\n" + `b_count{one="x"} 5` + "\n"
	if got := string(x.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
