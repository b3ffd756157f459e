package session

import "time"

// Resume is what a session has of the previous process, which served the client before.
type Resume struct {
	Greeted bool      // the client was sent something
	Opened  bool      // the record of its opening is written
	Ended   Reason    // why it has ended, which is still to be recorded; "": it goes on
	Heard   time.Time // when the client last sent something; zero: just now
	Unread  int       // bytes that had arrived by then and are still in the socket
	Offset  int64     // where in the stream the session goes on
	Records int64     // messages that are recorded
	Written int64     // messages before this offset are in the file, or will be
	Cut     int64     // and one, or a piece of one, ended there
	Counted int64     // messages before this offset are among Records
	Framing int64     // a framing.Framer's Memory
	Pieces  int64     // bytes recorded of a message whose acknowledgement is still to come
	Moved   []byte    // the beginning of a message, from Offset on; out of the kernel
}

// fresh is that of a session that begins with this process. It is shared, and nobody changes it.
var fresh Resume
