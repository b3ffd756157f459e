package spool

import "tcpmux/daemon/delivery"

// Until has Fill hand out nothing behind c, and return io.EOF, with the last records or later, when
// everything before c was handed out. A path that has no position in c, or whose file of the
// position is behind the delivery already, has nothing more to hand out. It holds over Seek.
//
// TODO(helper B): please make this real (forward uses it for --once, with what Ends returned), and
// see that Batch.Cursor also carries those positions that Seek was given for keys that no path has
// (another forwarder's --from): they must not be lost.
func (s *Spool) Until(c delivery.Cursor) {}
