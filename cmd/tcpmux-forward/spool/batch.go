package spool

import (
	"time"

	"tcpmux/daemon/delivery"
	"tcpmux/daemon/record"
)

// Record is one line of a record file.
type Record struct {
	// Line is the line without its line end. It is valid until the Batch is filled again.
	Line []byte
	// What the line says.
	Kind                      record.Kind
	Listener, Session, Remote string
	Time                      time.Time
	// Offset is where a message begins in the session's stream, and 0 for other kinds.
	Offset int64
	// End is the position behind the record.
	End delivery.Position
}

// Batch is records in the order in which they are to be delivered. It is reused: its memory is
// kept.
type Batch struct {
	Records []Record
	// Bytes is the size of the records in the files, with their line ends.
	Bytes int64
	// Cursor is where the delivery stands in all files when these records are delivered. It is
	// set also if there are no records, because the delivery may have gone on to another file.
	Cursor delivery.Cursor

	arena []byte
}
