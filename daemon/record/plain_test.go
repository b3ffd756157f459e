package record

import (
	"bytes"
	"os"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"tcpmux/internal/fuzzing"
)

// checkPlain compares plain, with what it uses on this machine and in Go alone, with its
// definition.
func checkPlain(t *testing.T, data []byte) {
	t.Helper()
	for _, quotes := range []bool{false, true} {
		want := 0
		for want < len(data) && data[want] >= ' ' && data[want] <= '~' && data[want] != '\\' && (data[want] != '"' || !quotes) {
			want++
		}
		if got := plain(data, quotes); got != want {
			t.Fatalf("%q, quotes %v: got %d, want %d", data, quotes, got, want)
		}
		if got := plainGo(data, quotes); got != want {
			t.Fatalf("in Go: %q, quotes %v: got %d, want %d", data, quotes, got, want)
		}
	}
}

// TestPlainEndsAtTheFirstSpecialByte, wherever that is in data of any length: each byte in some
// lengths, and in all of them those at the ends of what is plain.
func TestPlainEndsAtTheFirstSpecialByte(t *testing.T) {
	edges := []byte{0x1f, ' ', '"', '#', '\\', '~', 0x7f, 0x80, 0xff}
	every := make([]byte, 256)
	for c := range every {
		every[c] = byte(c)
	}
	room := bytes.Repeat([]byte("!~"), 101)
	for size := range 201 {
		data, values := room[:size], edges
		if size <= 20 || size == 200 {
			values = every
		}
		for at := range data {
			before := data[at]
			for _, data[at] = range values {
				checkPlain(t, data)
			}
			data[at] = before
		}
	}
}

// TestPlainAnywhereInMemory: data may begin at any address, and what is around it does not matter.
func TestPlainAnywhereInMemory(t *testing.T) {
	for _, around := range []byte{' ', 0xff} {
		for from := range 16 {
			room := bytes.Repeat([]byte{around}, 320)
			for size := range 201 {
				data := room[from : from+size]
				for i := range data {
					data[i] = '~'
				}
				checkPlain(t, data)
				for at := size % 7; at < size; at += 7 {
					data[at] = '"'
					checkPlain(t, data)
					data[at] = '~'
				}
			}
		}
	}
}

// TestPlainWhereTwoBytesMeet: no byte has another one next to it, or a whole word, count as what it
// is not.
func TestPlainWhereTwoBytesMeet(t *testing.T) {
	data := []byte("0123456789 abcdefghijklmnopqrstuvwxyz[]{}")
	for _, at := range []int{3, 7, 15, 31} {
		before := [2]byte(data[at:])
		for pair := range 1 << 16 {
			data[at], data[at+1] = byte(pair>>8), byte(pair)
			checkPlain(t, data)
		}
		copy(data[at:], before[:])
	}
}

// TestPlainReadsNothingElse than data: behind it, or before it, is memory that may not be read.
func TestPlainReadsNothingElse(t *testing.T) {
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 3*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) }) // it is the last that is done with it
	for _, guard := range [][]byte{mem[:page], mem[2*page:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	room := mem[page : 2*page]
	for i := range room {
		room[i] = 'x'
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for size := range 201 {
		checkPlain(t, room[:size])
		data := room[page-size:]
		checkPlain(t, data)
		for at := range data {
			data[at] = '\\'
			checkPlain(t, data)
			data[at] = 'x'
		}
	}
}

// FuzzPlain compares the ways to find the end of what is plain, for any bytes at any address.
func FuzzPlain(tf *testing.F) {
	f := fuzzing.Fixed(tf)
	for _, s := range []string{"", "hello", "\x7f\\", "0123456789abcde\"", "0123456789abcdef0123456789abcdef\\\"\x80\xff\x00\x1f ~"} {
		for _, from := range []byte{0, 1, 9} {
			f.Add(append(bytes.Repeat([]byte("x!"), int(from)), s...), from)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, from byte) {
		checkPlain(t, data)
		checkPlain(t, data[min(int(from), len(data)):])
	})
}

func BenchmarkPlain(b *testing.B) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 16)
	for _, c := range []struct {
		name string
		find func([]byte, bool) int
	}{{"used", plain}, {"Go", plainGo}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				c.find(data, true)
			}
		})
	}
}
