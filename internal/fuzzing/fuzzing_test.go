package fuzzing

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

var known = [][]any{{[]byte("hello\r\n"), "key = 5", byte(3), int64(7)}, {[]byte{}, "", byte(0), int64(0)}}

func made(seed uint64) (all [][]any) {
	m := mutator{rand.New(rand.NewPCG(seed, 2))}
	for range 2000 {
		all = append(all, m.input(known))
	}
	return all
}

// TestInputsAreTheSameEachTime, and are made, not only repeated.
func TestInputsAreTheSameEachTime(t *testing.T) {
	first := made(1)
	if !reflect.DeepEqual(first, made(1)) {
		t.Error("got other inputs from the same source, want the same")
	}
	if reflect.DeepEqual(first, made(2)) {
		t.Error("got the same inputs from another source, want others")
	}
	different := map[string]bool{}
	for _, input := range first {
		different[string(input[0].([]byte))] = true
	}
	if len(different) < len(first)/3 {
		t.Errorf("got %d different ones in %d, want more", len(different), len(first))
	}
}

// TestWhatIsAddedStays: inputs are made of copies.
func TestWhatIsAddedStays(t *testing.T) {
	made(3)
	if got := string(known[0][0].([]byte)); got != "hello\r\n" {
		t.Errorf("got %q, want it unchanged", got)
	}
}

// FuzzItself has as many inputs as it should.
func FuzzItself(tf *testing.F) {
	f := Fixed(tf)
	f.Add([]byte("x"), "y", byte(1), int64(2))
	ran := 0
	f.Cleanup(func() {
		if !f.fuzzed() && ran != 1+defaultInputs {
			f.Errorf("got %d inputs, want %d", ran, 1+defaultInputs)
		}
	})
	tf.Setenv(inputsVariable, "")
	f.Fuzz(func(*testing.T, []byte, string, byte, int64) { ran++ })
}
