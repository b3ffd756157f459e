package fuzzing

import (
	"flag"

	_ "pgregory.net/rapid" // has the flag
)

// FixRapid has rapid.Check draw the same values each time, unless -rapid.seed says otherwise. Call
// it before flags are parsed.
func FixRapid() {
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err) // rapid has no such flag any more
	}
}
