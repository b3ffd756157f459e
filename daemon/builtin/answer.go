package builtin

import (
	"encoding/binary"
	"slices"
	"time"

	"tcpmux/daemon/session"
)

// answer sends a text, and closes. What the client sends is thrown away.
type answer struct {
	service
	text func(now time.Time) []byte
}

func newAnswer(s *session.Session, text func(time.Time) []byte) *answer {
	return &answer{service{s: s}, text}
}

// daytimeText is what daytime sends: a line for people (RFC 867).
func daytimeText(now time.Time) []byte {
	return now.UTC().AppendFormat(nil, time.RFC3339+"\r\n")
}

// epoch is how many seconds were from 1900 to 1970.
const epoch = 2_208_988_800

// timeText is what time sends: the seconds since 1900 (RFC 868). They begin again at 0 in 2036.
func timeText(now time.Time) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(now.Unix()+epoch))
}

// Serve implements session.Service.
func (a *answer) Serve() (why session.Reason, err error) {
	now := time.Now()
	if a.s.Resume.Framing == 0 { // the previous process has not sent it
		err = a.write(slices.Concat(a.s.Greeting(), a.text(now)))
	}
	if err == nil {
		_ = a.s.Carry(0, 1) // it takes nothing, so nothing can fail
	}
	if err := a.s.Open(); err != nil {
		return session.BySink, err
	}
	switch {
	case err != nil && a.s.Phase() == session.Leaving:
		return session.ByLeave, nil
	case err != nil:
		return session.ReasonOf(err, session.ByBanner), err
	}
	a.s.Conn.CloseWrite()
	a.s.Await(session.ForClient)
	if why, err = a.linger(now.Add(lingering), 1); why == "" || why == session.ByEOF {
		why = session.ByDone
	}
	return why, err
}
