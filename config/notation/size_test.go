package notation

import "testing"

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
		n, ok, fits := ParseSize(tc.text)
		if n != tc.n || ok != tc.ok || fits != tc.fits {
			t.Errorf("%q: got %d %v %v, want %d %v %v", tc.text, n, ok, fits, tc.n, tc.ok, tc.fits)
		}
		if got := FormatSize(n); fits && got != tc.back {
			t.Errorf("%q: got %q back, want %q", tc.text, got, tc.back)
		}
	}
}

func TestMeantSize(t *testing.T) {
	for text, want := range map[string]string{
		"64KB": "64KiB", "64kB": "64KiB", "64k": "64KiB", "64K": "64KiB", "64kib": "64KiB", "64 KiB": "64KiB", "64b": "64B", "1m": "1MiB",
		"64": "", "": "", "k": "", "1.5MB": "", "9999999999TB": "", "64KBit": "",
	} {
		if got := MeantSize(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
