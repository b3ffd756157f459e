package notation

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for _, tc := range []struct {
		text string
		d    time.Duration
		ok   bool
		back string
	}{
		{"10s", 10 * time.Second, true, "10s"},
		{"90s", 90 * time.Second, true, "1m30s"},
		{"10m", 10 * time.Minute, true, "10m"},
		{"60m", time.Hour, true, "1h"},
		{"100h", 100 * time.Hour, true, "100h"},
		{"30d", 30 * Day, true, "30d"},
		{"48h", 2 * Day, true, "2d"},
		{"36h", 36 * time.Hour, true, "36h"},
		{"0d", 0, true, "0s"},
		{"1h0m1s", time.Hour + time.Second, true, "1h0m1s"},
		{"1.5ms", 1500 * time.Microsecond, true, "1.5ms"},
		{"0s", 0, true, "0s"},
		{"0h", 0, true, "0s"},
		{"-1s", -time.Second, true, "-1s"},
		{text: "0"}, {text: ""}, {text: "10"}, {text: "1 s"}, {text: "0.0000001ms"}, {text: "999999999h"},
		{text: "5us"}, {text: "5µs"}, {text: "1ns"}, {text: "1s5ns"}, {text: "off"},
		{text: "d"}, {text: "-1d"}, {text: "1d12h"}, {text: "1.5d"}, {text: "99999999999d"}, {text: "30"},
	} {
		d, ok := ParseDuration(tc.text)
		if d != tc.d || ok != tc.ok {
			t.Errorf("%q: got %v %v, want %v %v", tc.text, d, ok, tc.d, tc.ok)
		}
		if got := FormatDuration(d); ok && got != tc.back {
			t.Errorf("%q: got %q back, want %q", tc.text, got, tc.back)
		}
	}
}
