package config

import (
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	for _, tc := range []struct {
		text     string
		n        int64
		ok, fits bool
		back     string
	}{
		{"1B", 1, true, true, "1B"},
		{"0B", 0, true, true, "0B"},
		{"1024B", 1024, true, true, "1KiB"},
		{"1536B", 1536, true, true, "1536B"},
		{"64KiB", 64 << 10, true, true, "64KiB"},
		{"2048MiB", 2 << 30, true, true, "2GiB"},
		{"8388607TiB", 8388607 << 40, true, true, "8388607TiB"},
		{"8388608TiB", 0, true, false, ""},
		{"99999999999999999999B", 0, true, false, ""},
		{text: ""}, {text: "KiB"}, {text: "64"}, {text: "64 KiB"}, {text: "-1B"}, {text: "+1B"}, {text: "1.5MiB"},
		{text: "64kB"}, {text: "64KB"}, {text: "64kib"}, {text: "64K"}, {text: "1_000B"}, {text: "1e3B"}, {text: "٣B"},
	} {
		n, ok, fits := parseSize(tc.text)
		if n != tc.n || ok != tc.ok || fits != tc.fits {
			t.Errorf("%q: got %d %v %v, want %d %v %v", tc.text, n, ok, fits, tc.n, tc.ok, tc.fits)
		}
		if got := formatSize(n); fits && got != tc.back {
			t.Errorf("%q: got %q back, want %q", tc.text, got, tc.back)
		}
	}
}

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
		{"30d", 30 * day, true, "30d"},
		{"48h", 2 * day, true, "2d"},
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
		d, ok := parseDuration(tc.text)
		if d != tc.d || ok != tc.ok {
			t.Errorf("%q: got %v %v, want %v %v", tc.text, d, ok, tc.d, tc.ok)
		}
		if got := formatDuration(d); ok && got != tc.back {
			t.Errorf("%q: got %q back, want %q", tc.text, got, tc.back)
		}
	}
}

func TestMeantSize(t *testing.T) {
	for text, want := range map[string]string{
		"64KB": "64KiB", "64kB": "64KiB", "64k": "64KiB", "64K": "64KiB", "64kib": "64KiB", "64 KiB": "64KiB", "64b": "64B", "1m": "1MiB",
		"64": "", "": "", "k": "", "1.5MB": "", "9999999999TB": "", "64KBit": "",
	} {
		if got := meantSize(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestSyncTimes(t *testing.T) {
	for _, tc := range []struct {
		text, back string
		want       time.Duration
	}{
		{"always", "always", SyncAlways},
		{"none", "none", SyncNone},
		{"1ms", "1ms", time.Millisecond},
		{"90s", "1m30s", 90 * time.Second},
		{text: "0s"}, {text: "0.5ms"}, {text: "-1s"}, {text: "Always"}, {text: ""}, {text: "4000d"}, {text: "1"},
	} {
		d := &document{failed: map[string]bool{}}
		k := syncTime()
		got, ok := k.read(tc.text, place{doc: d, name: "sync"})
		if ok != (tc.back != "") || ok != (len(d.faults) == 0) {
			t.Errorf("%q: got %v with errors %v, want %v", tc.text, ok, d.faults, tc.back != "")
		} else if ok && (got != tc.want || k.write(got) != quoteTOML(tc.back)) {
			t.Errorf("%q: got %d, written %s, want %d, %q", tc.text, got, k.write(got), tc.want, tc.back)
		}
	}
}
