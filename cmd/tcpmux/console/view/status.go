// Package view writes what the daemon tells over its control socket as lines for people. It
// promises that no string of a client, or of anybody else, begins a line or drives a terminal, and
// that colours only repeat what the text says.
package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tcpmux/cmd/internal/text"
	"tcpmux/daemon/control/api"
)

// mostFaults is how many faults of a configuration are listed.
const mostFaults = 10

// Status returns what the daemon is doing, with what is wrong first.
func Status(s *api.Status, p text.Painter) []string {
	lines := []string{text.ASCII(fmt.Sprintf("tcpmux %s, %s for %s, pid %d", s.Version, s.Phase, text.Span(s.Now.Sub(s.Started)), s.PID))}
	lines = append(lines, problems(s, p)...)
	lines = append(lines, "", "Clients        "+clients(s))
	if s.TLS.Clients > 0 {
		lines = append(lines, "TLS            "+secured(&s.TLS, s.Survive.On))
	}
	lines = append(lines, configuration(s, p)...)
	if len(s.Listeners) > 0 {
		lines = append(append(lines, ""), listeners(s.Listeners, p)...)
	}
	if len(s.Files) > 0 {
		lines = append(append(lines, ""), files(s.Files, s.Now, p)...)
	}
	return lines
}

// problems returns what is wrong, or that nothing is.
func problems(s *api.Status, p text.Painter) []string {
	if len(s.Problems)+len(s.Unready) == 0 {
		return []string{p.Paint(text.Green, "All is well.")}
	}
	var lines []string
	for _, problem := range s.Problems {
		lines = append(lines, p.Paint(text.Red, "PROBLEM: "+text.Prose(problem)))
	}
	for _, reason := range s.Unready {
		if !slices.Contains(s.Problems, reason) {
			lines = append(lines, p.Paint(text.Yellow, "NOT READY: "+text.Prose(reason)))
		}
	}
	return lines
}

func clients(s *api.Status) string {
	text := Places(s.Clients, s.Limit)
	if s.Survive.On {
		return fmt.Sprintf("%s; %d would outlive a crash", text, s.Survive.Clients)
	}
	return text + "; none outlives this process"
}

// secured returns how many clients speak TLS, and what becomes of them.
func secured(t *api.TLSClients, survive bool) string {
	line := fmt.Sprintf("%s, %d by the kernel", text.Number(int64(t.Clients), "client"), t.Kernel)
	if survive {
		return fmt.Sprintf("%s; %d would outlive a crash", line, t.Survive)
	}
	return line
}

// Places returns how many places are taken, of how many: "12/100", or "12" without a limit.
func Places(n, limit int) string {
	if limit == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d/%d", n, limit)
}

func configuration(s *api.Status, p text.Painter) []string {
	c, file := &s.Config, "the built-in defaults"
	if c.File != "" {
		file = text.Prose(c.File)
	}
	line := "Configuration  " + file
	if !c.Loaded.IsZero() {
		line += ", in force since " + text.Clock(c.Loaded, s.Now)
	}
	if c.Reloads > 0 {
		line += ", " + text.Number(int64(c.Reloads), "reload")
	}
	lines := []string{line}
	if c.Differs && len(c.Faults) == 0 {
		lines = append(lines, p.Paint(text.Yellow, "               the file differs from it: systemctl reload tcpmux"))
	}
	if len(c.Faults) > 0 {
		lines = append(lines, p.Paint(text.Yellow, "               the file was not loaded, as it has errors:"))
	}
	for i, fault := range c.Faults {
		if i == mostFaults {
			lines = append(lines, fmt.Sprintf("               and %d more", len(c.Faults)-i))
			break
		}
		lines = append(lines, "               "+text.Prose(fault))
	}
	return lines
}

// listeners returns the table of listeners: numbers on one line, and words on the next.
func listeners(list []api.Listener, p text.Painter) []string {
	t := text.NewTable(text.Left("LISTENER"), text.Right("CLIENTS"), text.Right("VISITS"), text.Right("RECORDS"),
		text.Right("BYTES"), text.Right("RECORDS/S"), text.Right("BYTES/S"), text.Left("STATE"))
	for i := range list {
		l := &list[i]
		state := ListenerState(l)
		t.Row(text.Cell{Text: l.Name}, text.Cell{Text: Places(l.Clients, l.Limit)}, text.Cell{Text: text.Count(l.Counts.Visits)}, text.Cell{Text: text.Count(l.Counts.Records)},
			text.Cell{Text: text.Size(l.Counts.Bytes)}, text.Cell{Text: text.Rate(l.Rates.Records)}, text.Cell{Text: text.Size(int64(l.Rates.Bytes))}, state)
		t.Note(text.Plain, what(l))
		if l.TLS != nil {
			t.Note(text.Plain, listenerTLS(l.TLS))
		}
		if l.Fault != "" {
			t.Note(text.Red, "not served: "+l.Fault)
		}
		if refused := refusals(l.Counts.Refused); refused != "" {
			t.Note(text.Plain, refused)
		}
	}
	return t.Lines(p)
}

// listenerTLS returns until when a listener's certificate is valid, and what becomes of its clients.
func listenerTLS(t *api.ListenerTLS) string {
	words := []string{"TLS"}
	if !t.Expires.IsZero() {
		words = append(words, "certificate until "+t.Expires.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if t.Ends == "" {
		return strings.Join(append(words, "clients of TLS 1.3 outlive the daemon"), ", ")
	}
	return strings.Join(append(words, "clients end with the daemon: "+t.Ends), ", ")
}

// ListenerState returns the state of a listener in a word.
func ListenerState(l *api.Listener) text.Cell {
	switch {
	case l.Fault != "":
		return text.Cell{Text: "FAULT", Colour: text.Red}
	case l.Draining:
		return text.Cell{Text: "draining", Colour: text.Yellow}
	}
	return text.Cell{Text: "serving", Colour: text.Plain}
}

// what returns where a listener listens and what it does.
func what(l *api.Listener) string {
	words := []string{strings.Join(l.Addresses, " ")}
	if len(l.MuxedBy) > 0 {
		words = append(words, "via mux "+strings.Join(l.MuxedBy, " "))
	}
	recorded := l.Service == "" || l.Service == "record"
	switch {
	case recorded:
	case len(l.Mux) > 0:
		words = append(words, "mux of "+strings.Join(l.Mux, " "))
	case len(l.Upstreams) > 0:
		words = append(words, "proxy to "+strings.Join(l.Upstreams, " "))
	default:
		words = append(words, l.Service)
	}
	if recorded || l.File != "" && len(l.Mux) == 0 { // framing matters to what is recorded
		words = append(words, l.Framing)
	}
	if l.Model != "" {
		words = append(words, "model "+l.Model)
	}
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), ", ")
}

// refusals returns how many clients were refused and why, the most frequent reason first; "" if
// none was.
func refusals(by map[string]int64) string {
	reasons := slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		if by[a] != by[b] {
			return int(max(-1, min(1, by[b]-by[a])))
		}
		return strings.Compare(a, b)
	})
	var parts []string
	total := int64(0)
	for _, r := range reasons {
		if by[r] > 0 {
			total += by[r]
			parts = append(parts, fmt.Sprintf("%s %d", r, by[r]))
		}
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf("refused %d: %s", total, strings.Join(parts, ", "))
}

// files returns the table of record files.
func files(list []api.File, now time.Time, p text.Painter) []string {
	t := text.NewTable(text.Right("SIZE"), text.Right("WRITTEN"), text.Right("SYNCED"), text.Right("FREE"), text.Right("WAITING"),
		text.Left("STATE"), text.Left("FILE"))
	for i := range list {
		f := &list[i]
		free, state := "-", text.Cell{Text: "ok", Colour: text.Plain}
		if f.Free >= 0 {
			free = text.Size(f.Free)
		}
		if len(f.Troubles) > 0 {
			state = text.Cell{Text: "trouble", Colour: text.Yellow}
		}
		if f.Failing {
			state = text.Cell{Text: "FAILING", Colour: text.Red}
		}
		t.Row(text.Cell{Text: text.Size(f.Size)}, text.Cell{Text: since(f.Written, now)}, text.Cell{Text: since(f.Synced, now)}, text.Cell{Text: free},
			text.Cell{Text: text.Size(f.Waiting)}, state, text.Cell{Text: fileName(f)})
		if f.Failing {
			t.Note(text.Red, fmt.Sprintf("cannot be written since %s: %s", text.Clock(f.Since, now), f.Error))
		}
		for _, trouble := range f.Troubles {
			t.Note(text.Yellow, trouble)
		}
	}
	return t.Lines(p)
}

// since is Ago in a table: "-" is never, as far as is known.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return text.Ago(t, now)
}

func fileName(f *api.File) string {
	name := f.Path
	if name == "-" {
		name = "standard output"
	}
	if f.Listener != "" {
		name += " (of " + f.Listener + ")"
	}
	return name
}
