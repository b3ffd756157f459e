package tlsconn

// Waits returns how many bytes wait in memory until the socket has room.
func (c *Conn) Waits() int {
	w := c.layer.(*user).wire
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.out)
}
