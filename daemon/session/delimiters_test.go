package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tcpmux/config"
	"tcpmux/daemon/framing"
)

// cuts returns how a stream is cut: the lengths of head, data and end of each message.
func cuts(spec framing.Spec, stream []byte) (all []int) {
	f := spec.New()
	for rest := stream; len(rest) > 0; {
		m := f.Next(rest)
		if m.Len() == 0 {
			m = f.Rest(rest, framing.EOF)
		}
		all = append(all, int(m.HeadLen), len(m.Data()), int(m.EndLen))
		rest = rest[m.Len():]
	}
	return all
}

// everyStream calls f with all streams of up to n of the letters, until f returns false.
func everyStream(letters string, n int, f func(stream []byte) bool) {
	count := 1
	for size := 1; size <= n; size++ {
		count *= len(letters)
		for number := range count {
			stream := make([]byte, size)
			for i := range stream {
				stream[i] = letters[number%len(letters)]
				number /= len(letters)
			}
			if !f(stream) {
				return
			}
		}
	}
}

// hasEffect reports whether there is a stream that is cut in another way without all[i].
func hasEffect(t *testing.T, all []string, i int) (effect bool) {
	t.Helper()
	with := framing.Spec{Kind: framing.Delimited, Max: 100}
	without := with
	var errs [2]error
	with.Delimiters, errs[0] = framing.NewDelimiters("", all...)
	without.Delimiters, errs[1] = framing.NewDelimiters("", slices.Delete(slices.Clone(all), i, i+1)...)
	if errs != [2]error{} {
		t.Fatal(errs)
	}
	everyStream("ab.", 6, func(stream []byte) bool {
		effect = !slices.Equal(cuts(with, stream), cuts(without, stream))
		return !effect
	})
	return effect
}

// TestDelimitersThatHaveNoEffectGetAWarning from the configuration, and no others.
func TestDelimitersThatHaveNoEffectGetAWarning(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	seen := map[bool]int{}
	for range 300 {
		var all []string
		for range 2 + rnd.IntN(4) {
			one := make([]byte, 1+rnd.IntN(4))
			for i := range one {
				one[i] = "ab"[rnd.IntN(2)]
			}
			if !slices.Contains(all, string(one)) {
				all = append(all, string(one))
			}
		}
		if len(all) < 2 {
			continue
		}
		text := fmt.Sprintf("framing = \"delimited\"\ndelimiter = [\"%s\"]", strings.Join(all, `", "`))
		c, err := config.Read(strings.NewReader(text), "t.toml")
		if err != nil {
			t.Fatal(err)
		}
		for i, one := range all {
			want := hasEffect(t, all, i)
			got := !slices.ContainsFunc(c.Warnings, func(w string) bool {
				return strings.Contains(w, fmt.Sprintf("delimiter is %q and has no effect", one))
			})
			if seen[want]++; got != want {
				t.Errorf("%q of %q: got effect %v, want %v: %q", one, all, got, want, c.Warnings)
			}
		}
	}
	if seen[true] < 100 || seen[false] < 100 {
		t.Errorf("got %d with and %d without effect, want many of both", seen[true], seen[false])
	}
}
