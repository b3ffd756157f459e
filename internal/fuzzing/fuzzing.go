// Package fuzzing has "go test" run fuzz targets with inputs that are the same each time: those
// that a target adds, those committed in testdata/fuzz, and a number of others that a fixed random
// source makes of the first kind. So whether a change can be landed does not depend on luck. With
// -fuzz it leaves everything to go test.
package fuzzing

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
)

// inputsVariable overrides how many inputs are made for each target.
const inputsVariable = "FUZZ_INPUTS"

// defaultInputs is enough to notice what is broken plainly, and few enough for the race detector.
const defaultInputs = 500

// F is a *testing.F that makes inputs of those that are added.
type F struct {
	*testing.F
	added [][]any
	oneIn int
}

// Fixed returns the target with inputs that are the same each time.
func Fixed(f *testing.F) *F { return &F{F: f, oneIn: 1} }

// OneIn makes one in n of the inputs, for a target that is so much slower than others. It returns f.
func (f *F) OneIn(n int) *F {
	f.oneIn = n
	return f
}

// Add is testing.F.Add.
func (f *F) Add(args ...any) {
	f.Helper()
	f.added = append(f.added, args)
	f.F.Add(args...)
}

// Fuzz is testing.F.Fuzz. A failure shows the input.
func (f *F) Fuzz(check any) {
	f.Helper()
	if !f.fuzzed() {
		f.addMade()
	}
	f.F.Fuzz(showing(check))
}

// fuzzed reports whether go test makes the inputs.
func (f *F) fuzzed() bool { return flag.Lookup("test.fuzz").Value.String() != "" }

func (f *F) addMade() {
	f.Helper()
	n := defaultInputs
	if s := os.Getenv(inputsVariable); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			f.Fatalf("%s=%s: %v", inputsVariable, s, err)
		}
	}
	name := fnv.New64a()
	_, _ = name.Write([]byte(f.Name())) // a hash takes everything
	m := mutator{rand.New(rand.NewPCG(1, name.Sum64()))}
	for range n / f.oneIn {
		f.F.Add(m.input(f.added)...)
	}
}

// showing wraps a target's function into one that logs the input of a failure: of inputs that are
// made, go test knows only the number.
func showing(check any) any {
	v := reflect.ValueOf(check)
	return reflect.MakeFunc(v.Type(), func(args []reflect.Value) []reflect.Value {
		t := args[0].Interface().(*testing.T)
		returned := false
		defer func() {
			if returned && !t.Failed() {
				return
			}
			text := ""
			for _, arg := range args[1:] {
				text += fmt.Sprintf(" %#v", arg)
				if s, ok := arg.Interface().([]byte); ok {
					text += fmt.Sprintf(" (%q)", s)
				}
			}
			t.Logf("input:%s", text)
		}()
		v.Call(args)
		returned = true
		return nil
	}).Interface()
}
