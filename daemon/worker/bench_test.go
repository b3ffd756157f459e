package worker

import (
	"testing"

	"tcpmux/daemon/record"
)

// BenchmarkMessages is the cost of a message on its way from a session process to the daemon.
func BenchmarkMessages(b *testing.B) {
	m := record.Message{Raw: []byte("a line of forty bytes, as many clients send\n"), EndLen: 1}
	e := encoder{new(lastMessage)}
	var buf []byte
	var got record.Message
	b.ReportAllocs()
	for b.Loop() {
		buf = e.Message(buf[:0], &m)
		if _, err := parseMessage(buf, &got); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBatch is the cost of a frame and its answer, without what the sink and the channel take.
func BenchmarkBatch(b *testing.B) {
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = frameHeader{frameMessages, 1}.append(out[:0])
		_ = parseFrameHeader(out)
		out = written.append(out[:0])
		_, _ = parseAnswer(out[frameHeaderSize:])
	}
}

// BenchmarkCheckpoint is the cost of a checkpoint without bytes.
func BenchmarkCheckpoint(b *testing.B) {
	c := checkpoint{checkpointHeader: checkpointHeader{Progress: progress{Offset: 1}}}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = c.append(out[:0])
		if _, err := parseCheckpoint(out[frameHeaderSize:]); err != nil {
			b.Fatal(err)
		}
	}
}
