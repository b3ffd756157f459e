package framing

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkDelimiters is what a message costs, by framing and by what the sender ends it with.
func BenchmarkDelimiters(b *testing.B) {
	any := delimitedBy("", "\r\n", "\n", "\r")
	for _, c := range []struct {
		name string
		spec Spec
		end  string
	}{
		{"line, LF", Spec{}, "\n"},
		{"line, CRLF", Spec{}, "\r\n"},
		{"CR", delimitedBy("", "\r"), "\r"},
		{"CRLF or LF, LF", delimitedBy("", "\r\n", "\n"), "\n"},
		{"CRLF or LF, CRLF", delimitedBy("", "\r\n", "\n"), "\r\n"},
		{"any, LF", any, "\n"},
		{"any, CR", any, "\r"},
		{"any, CRLF", any, "\r\n"},
		{"one of three, ;", delimitedBy("", ";", "#", "!"), ";"},
		{"one of three, !", delimitedBy("", ";", "#", "!"), "!"},
		{"four bytes", delimitedBy("", "\x00\x01\x02\x03"), "\x00\x01\x02\x03"},
		{"two of two bytes", delimitedBy("", "\r\r", "\n\n"), "\n\n"},
	} {
		for _, size := range []int{32, 128, 512} {
			b.Run(fmt.Sprintf("%s of %d", c.name, size), func(b *testing.B) {
				message := append(bytes.Repeat([]byte("x"), size-len(c.end)), c.end...)
				stream := bytes.Repeat(message, 64<<10/size)
				c.spec.Max = 1 << 20
				f, n := c.spec.New(), 0
				for b.Loop() {
					for rest := stream; ; n++ {
						m := f.Next(rest)
						if m.Len() == 0 {
							break
						}
						rest = rest[m.Len():]
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
			})
		}
	}
}

// BenchmarkNext is what a stream of long messages costs in each framing.
func BenchmarkNext(b *testing.B) {
	for _, s := range specs {
		b.Run(s.name, func(b *testing.B) {
			stream := bytes.Repeat(s.wrap(bytes.Repeat([]byte("x"), 255)), 256)
			s.spec.Max = 64 << 10
			f := s.spec.New()
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				drain(f, stream)
			}
		})
	}
}

// drain cuts all messages of a stream.
func drain(f Framer, stream []byte) {
	for m := f.Next(stream); m.Len() > 0; m = f.Next(stream) {
		stream = stream[m.Len():]
	}
	for m := f.Rest(stream, EOF); m.Len() > 0; m = f.Rest(stream, EOF) {
		stream = stream[m.Len():]
	}
}
