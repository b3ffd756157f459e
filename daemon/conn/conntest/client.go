package conntest

// Send has the client send b.
func (c *Conn) Send(b string) { c.update(func(s *state) { s.in.data = append(s.in.data, b...) }) }

// SendUrgent has the client send b as an urgent byte, which stays in the stream (socket(7),
// SO_OOBINLINE). A call that reads bytes before it ends there.
func (c *Conn) SendUrgent(b byte) {
	c.update(func(s *state) {
		s.in.mark = len(s.in.data)
		s.in.data = append(s.in.data, b)
	})
}

// SendEnd has the client send no more.
func (c *Conn) SendEnd() { c.update(func(s *state) { s.in.ended = true }) }

// Break breaks the connection: what has arrived can be read, and then a read or a write returns
// err.
func (c *Conn) Break(err error) { c.update(func(s *state) { s.broken = err }) }

// SetRoom has the client take n more bytes of what is written to it. New sets that to a gigabyte.
func (c *Conn) SetRoom(n int) { c.update(func(s *state) { s.out.room = n }) }

// Received returns what was written to the client so far.
func (c *Conn) Received() string {
	s, _ := c.now()
	return string(s.out.data)
}

// WriteClosed reports whether the client was told that nothing more will be sent to it.
func (c *Conn) WriteClosed() bool {
	s, _ := c.now()
	return s.out.closed
}

// Closed reports whether Close was called.
func (c *Conn) Closed() bool {
	s, _ := c.now()
	return s.closed
}
