package conn

// PeekOn peeks behind the n bytes that a Peek of c has just copied into buf, and returns how many
// are there by then. It is for who waits for more of what it leaves there: a Peek ends behind bytes
// that descriptors were sent with (unix(7), SCM_RIGHTS), and before an urgent byte, whatever has
// come after that. A connection that cannot do so shows no more.
func PeekOn(c interface{ Peek(buf []byte) (int, error) }, buf []byte, n int) int {
	if p, able := c.(interface{ PeekOn(buf []byte, n int) int }); able && n > 0 {
		return p.PeekOn(buf, n)
	}
	return n
}

// PeekOn is what the function calls.
func (t *Tracked) PeekOn(buf []byte, n int) int {
	n = peekOn(t.Conn, buf, n) // where the last peek has ended, the next begins
	t.ahead = n
	return n
}

// PeekOn is what the function calls.
func (s socket) PeekOn(buf []byte, n int) int {
	if s.Unread() <= n || SetPeekOffset(uintptr(s), n) != nil { // the latter with TCP before Linux 6.9
		return n
	}
	n = peekOn(s, buf, n)
	_ = SetPeekOffset(uintptr(s), -1) // it takes that
	return n
}

// peekOn peeks until nothing more shows.
func peekOn(c interface{ Peek(buf []byte) (int, error) }, buf []byte, n int) int {
	for n < len(buf) {
		more, err := c.Peek(buf[n:])
		if more <= 0 || err != nil {
			break
		}
		n += more
	}
	return n
}
