package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tcpmux/cmd/internal/text"
	"tcpmux/daemon/control/api"
)

// Sessions returns the table of sessions, and how many there are if it does not show all.
func Sessions(s *api.Sessions, now time.Time, p text.Painter) []string {
	if len(s.Sessions) == 0 {
		return []string{"no session"}
	}
	columns := []text.Column{text.Left("ID"), text.Left("LISTENER"), text.Left("REMOTE"), text.Right("SINCE"), text.Right("IDLE"),
		text.Right("RECORDS"), text.Right("BYTES"), text.Left("STATE")}
	secured := slices.ContainsFunc(s.Sessions, func(c api.Session) bool { return c.TLS != nil })
	if secured {
		columns = append(columns, text.Left("TLS"))
	}
	t := text.NewTable(columns...)
	for i := range s.Sessions {
		c := &s.Sessions[i]
		row := []text.Cell{{Text: c.ID}, {Text: c.Listener}, {Text: Peer(c)}, {Text: text.Clock(c.Opened, now)}, {Text: text.Span(Idle(c, now).Truncate(time.Second))},
			{Text: text.Count(c.Records)}, {Text: text.Size(c.Bytes)}, State(c)}
		if secured {
			row = append(row, text.Cell{Text: TLS(c)})
		}
		t.Row(row...)
	}
	lines := t.Lines(p)
	if s.Total > len(s.Sessions) {
		lines = append(lines, fmt.Sprintf("%d of %s", len(s.Sessions), text.Number(int64(s.Total), "session")))
	}
	return lines
}

// Peer returns a client's address, and the way that it has come.
func Peer(s *api.Session) string {
	way := s.Remote
	if s.Proxy != "" {
		way += " via " + s.Proxy
	}
	if s.Mux != "" {
		way += " via mux " + s.Mux
	}
	if s.Upstream != "" {
		way += " to " + s.Upstream
	}
	return way
}

// TLS returns the version of a client's TLS, who does it, and the subject of the client's
// certificate; "-" for clear text.
func TLS(s *api.Session) string {
	if s.TLS == nil {
		return "-"
	}
	words := []string{s.TLS.Version, "user space"}
	if s.TLS.Kernel {
		words[1] = "kernel"
	}
	if s.TLS.Subject != "" {
		words = append(words, short(s.TLS.Subject))
	}
	return strings.Join(words, " ")
}

// mostSubject is how many characters of a subject a table shows.
const mostSubject = 60

func short(subject string) string {
	subject = text.ASCII(subject)
	if len(subject) <= mostSubject {
		return subject
	}
	return subject[:mostSubject-3] + "..."
}

// Idle returns how long nothing was heard of a client.
func Idle(s *api.Session, now time.Time) time.Duration {
	if s.Heard.After(s.Opened) {
		return now.Sub(s.Heard)
	}
	return now.Sub(s.Opened)
}

// State returns what a session waits for, or its phase when it is ending.
func State(s *api.Session) text.Cell {
	switch {
	case s.Phase != "" && s.Phase != "serving":
		return text.Cell{Text: s.Phase, Colour: text.Yellow}
	case s.State == "sink":
		return text.Cell{Text: s.State, Colour: text.Red}
	}
	return text.Cell{Text: s.State, Colour: text.Plain}
}

// Detail returns all about a session.
func Detail(d *api.Detail, now time.Time, p text.Painter) []string {
	lines := []string{p.Paint(text.Bold, "Session "+text.ASCII(d.ID))}
	add := func(name, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("  %-10s  %s", name, text.ASCII(fmt.Sprintf(format, args...))))
	}
	add("client", "%s", Peer(&d.Session))
	add("listener", "%s", listenerOf(d))
	if d.Local != "" {
		add("local", "%s", d.Local)
	}
	if t := d.TLS; t != nil {
		add("TLS", "%s", tlsOf(t))
		if t.SNI != "" {
			add("server", "%s", t.SNI)
		}
		if t.Subject != "" {
			add("subject", "%s", t.Subject)
		}
	}
	add("opened", "%s", moment(d.Opened, now))
	add("heard", "%s", moment(d.Heard, now))
	add("recorded", "%s, %s", text.Number(d.Records, "record"), exact(d.Bytes))
	add("unread", "%s in the kernel", exact(d.Unread))
	add("partial", "%s of a message that has not ended", exact(d.Partial))
	add("state", "%s", state(&d.Session))
	if d.Survives {
		add("crash", "the connection would outlive one of the daemon")
	} else {
		add("crash", "the connection would end with one of the daemon")
	}
	if t := d.TCP; t != nil {
		add("TCP", "%s, %s", t.State, text.Number(t.Retransmits, "retransmission"))
		add("", "round trip %s, variance %s", millis(t.RTT), millis(t.RTTVariance))
		add("", "send window %s, receive window %s, %s unacknowledged", text.Size(t.SendWindow), text.Size(t.ReceiveWindow), text.Number(t.Unacked, "segment"))
		add("", "received %s, sent %s", exact(t.Received), exact(t.Sent))
	} else if !strings.HasPrefix(d.Local, "unix:") {
		add("TCP", "unknown")
	}
	return lines
}

// tlsOf returns how a client's TLS is done.
func tlsOf(t *api.SessionTLS) string {
	words := t.Version + ", " + t.Cipher
	switch {
	case t.Kernel:
		return words + ", by the kernel"
	case t.Reason != "":
		return words + ", in user space: " + t.Reason
	}
	return words + ", in user space"
}

func listenerOf(d *api.Detail) string {
	words := []string{}
	if d.Framing != "" {
		words = append(words, "framing "+d.Framing)
	}
	if d.Model != "" {
		words = append(words, "model "+d.Model)
	}
	if len(words) == 0 {
		return d.Listener
	}
	return d.Listener + " (" + strings.Join(words, ", ") + ")"
}

// moment returns a time in full, and how long ago it was.
func moment(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000 UTC") + ", " + text.Ago(t, now)
}

// exact returns bytes exactly, and in a unit if that is shorter.
func exact(n int64) string {
	if n < 1024 {
		return text.Number(n, "byte")
	}
	return fmt.Sprintf("%d bytes (%s)", n, text.Size(n))
}

func state(s *api.Session) string {
	if s.State == "" {
		return s.Phase
	}
	return s.Phase + ", waits for " + s.State
}

// millis returns seconds as milliseconds.
func millis(seconds float64) string { return fmt.Sprintf("%.3f ms", seconds*1000) }
