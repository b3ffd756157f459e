package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// framed is a way to send messages, by the name that it has in the configuration of tcpmux.
type framed struct {
	name string
	// head and end return what precedes the data of a message, and what follows it, when all of
	// it is size bytes long. nil means nothing.
	head func(size int) []byte
	end  string
	// keys are what a listener needs in addition to the framing.
	keys func(size int) string
}

// framings are all, the default first.
var framings = []framed{
	{name: "line", end: "\n"},
	{name: "nul", end: "\x00"},
	{name: "chunk"},
	{name: "octet-counted", head: octetCount},
	{name: "length-prefixed", head: func(size int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(size-4)) }},
	{name: "delimited", end: "\r", keys: func(int) string { return "delimiter = [\"\\r\\n\", \"\\n\", \"\\r\"]\n" }},
	{name: "fixed", keys: func(size int) string { return fmt.Sprintf("message_size = %d\n", size) }},
	{name: "silence"},
}

// octetCount returns the longest count with which a message is at most size bytes long. Where none
// gives exactly that, the count has a message of a byte less, and a line end precedes it.
func octetCount(size int) []byte {
	for digits := 1; ; digits++ {
		n := size - digits - 1
		switch count := strconv.Itoa(n); {
		case len(count) == digits:
			return []byte(count + " ")
		case len(count) < digits:
			return []byte("\n" + count + " ")
		}
	}
}

// FramingNames returns the names of all framings.
func FramingNames() (names []string) {
	for _, f := range framings {
		names = append(names, f.name)
	}
	return names
}

// findFraming returns the framing of a name; "" is that of lines.
func findFraming(name string) (framed, error) {
	if name == "" {
		return framings[0], nil
	}
	if i := slices.IndexFunc(framings, func(f framed) bool { return f.name == name }); i >= 0 {
		return framings[i], nil
	}
	return framed{}, fmt.Errorf("--framing %q, want one of %s", name, strings.Join(FramingNames(), ", "))
}

// least is the size of the smallest message that every framing can have.
const least = 8

// checkFraming reports a framing that is none, or messages that are too small for it.
func (o *Options) checkFraming() error {
	f, err := findFraming(o.Framing)
	if err == nil && f.head != nil && o.Size < least && Workloads[o.Workload].Size > 0 {
		return fmt.Errorf("--size is %d, want at least %d with --framing %s", o.Size, least, f.name)
	}
	return err
}

// settings returns the lines of a configuration by which tcpmux reads messages of size bytes.
func (f framed) settings(size int) string {
	keys := ""
	if f.keys != nil {
		keys = f.keys(size)
	}
	return fmt.Sprintf("framing = %q\n%s", f.name, keys)
}

// block returns n messages of size bytes.
func (f framed) block(size, n int) []byte {
	b := make([]byte, 0, size*n)
	var head []byte
	if f.head != nil {
		head = f.head(size)
	}
	for i := range n {
		b = append(b, head...)
		b = append(b, bytes.Repeat([]byte{byte('a' + i%26)}, size-len(head)-len(f.end))...)
		b = append(b, f.end...)
	}
	return b
}
