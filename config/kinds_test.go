package config

import (
	"testing"
	"time"

	"tcpmux/config/document"
)

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
		set := new(document.Set)
		doc := set.Parse("t.toml", nil)
		k := syncTime()
		got, ok := k.read(tc.text, place{Place: doc.At("sync")})
		if ok != (tc.back != "") || ok != (len(set.Faults()) == 0) {
			t.Errorf("%q: got %v with errors %v, want %v", tc.text, ok, set.Faults(), tc.back != "")
		} else if ok && (got != tc.want || k.write(got) != document.QuoteTOML(tc.back)) {
			t.Errorf("%q: got %d, written %s, want %d, %q", tc.text, got, k.write(got), tc.want, tc.back)
		}
	}
}
