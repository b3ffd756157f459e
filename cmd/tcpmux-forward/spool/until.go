package spool

import "tcpmux/daemon/delivery"

// Until has Fill hand out nothing behind c, and return io.EOF, with the last records or later, when
// everything before c was handed out. A path that has no position in c, or whose file of the
// position is behind the delivery already, has nothing more to hand out. It holds over Seek.
func (s *Spool) Until(c delivery.Cursor) {
	s.bounded, s.until = true, c
	s.bound()
}

// bound sets where the lanes end.
func (s *Spool) bound() {
	for _, l := range s.lanes {
		l.passed, l.until = s.bounded, nil
		if p, ok := s.until.Find(l.key); s.bounded && ok {
			l.until = &p
			l.passed = s.isBehind(l, p)
		}
	}
}

// isBehind reports whether the file of p is before that in which the lane stands.
func (s *Spool) isBehind(l *lane, p delivery.Position) bool {
	if l.pos.Mark == "" || l.pos.Mark == p.Mark {
		return false
	}
	ls, err := s.list(l)
	if err != nil {
		return false
	}
	files, err := ls.from(l.pos.Mark)
	return err == nil && len(files) > 0 && find(files, p.Mark) < 0
}
