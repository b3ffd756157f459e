package main

import (
	"cmp"
	"fmt"
	"time"

	"tcpmux/cmd/internal/text"
	"tcpmux/cmd/tcpmux-forward/api"
)

// statusText returns a status for people, with what is wrong first. A forwarder that is not running
// has no connection and has counted nothing.
func statusText(s *api.Status, running bool, now time.Time, p text.Painter) []string {
	lines := []string{headline(s, running, now)}
	all := problems(s)
	for _, problem := range all {
		lines = append(lines, p.Paint(text.Red, "PROBLEM: "+text.Prose(problem)))
	}
	switch {
	case !running:
		lines = append(lines, p.Paint(text.Yellow, "NOT RUNNING: what follows is what the state file and the record files say."))
	case s.State == api.Connecting && len(all) == 0:
		lines = append(lines, p.Paint(text.Yellow, "NOT READY: connecting"))
	case len(all) == 0:
		lines = append(lines, p.Paint(text.Green, "All is well."))
	}
	lines = append(lines, "")
	add := func(name, value string) {
		lines = append(lines, fmt.Sprintf("%-11s  %s", name, text.Prose(cmp.Or(value, "-"))))
	}
	if running {
		add("Server", server(s))
	}
	add("Stream", stream(s))
	add("Host", s.Host)
	if running {
		add("Delivered", fmt.Sprintf("%s, %s since the start; %s records/s; the last one %s",
			text.Number(s.Records, "record"), text.Size(s.Bytes), text.Rate(s.Rate), text.Ago(s.Acknowledged, now)))
	}
	add("Lag", lag(s.Lag))
	if running {
		add("Connections", fmt.Sprintf("%d, and %s", s.Connects, text.Number(s.Failures, "failed attempt")))
	}
	if s.Rollbacks > 0 {
		add("Rollbacks", fmt.Sprintf("%d: the stream had lost records that it had acknowledged", s.Rollbacks))
	}
	if s.Skipped > 0 {
		add("Skipped", text.Number(s.Skipped, "line")+" that are no records: see the log")
	}
	if s.LastError != "" && s.LastError != s.Error {
		add("Last error", text.Clock(s.LastErrorAt, now)+": "+s.LastError)
	}
	if len(s.Files) > 0 {
		lines = append(append(lines, ""), fileTable(s.Files, p)...)
	}
	return lines
}

// problems returns what is wrong now.
func problems(s *api.Status) (all []string) {
	if s.Error != "" {
		all = append(all, s.Error)
	}
	for _, f := range s.Files {
		if f.Error != "" {
			all = append(all, fmt.Sprintf("%s cannot be read: %s", f.Path, f.Error))
		}
	}
	return all
}

func headline(s *api.Status, running bool, now time.Time) string {
	if !running {
		return "tcpmux-forward, not running"
	}
	return text.ASCII(fmt.Sprintf("tcpmux-forward %s, started %s ago, %s for %s", s.Version, text.Span(now.Sub(s.Started)), s.State, text.Span(now.Sub(s.Since))))
}

func server(s *api.Status) string {
	switch {
	case s.Server == "":
		return "none is connected"
	case s.ServerVersion == "":
		return s.Server
	}
	return fmt.Sprintf("%s, version %s", s.Server, s.ServerVersion)
}

func stream(s *api.Status) string {
	line := s.Stream
	if s.Mode != "" {
		line += ", mode " + s.Mode
	}
	if s.Sequence > 0 {
		line += fmt.Sprintf(", last message %d", s.Sequence)
	}
	return line
}

func lag(l api.Lag) string {
	if l.Bytes == 0 {
		return "none: all is delivered"
	}
	line := fmt.Sprintf("%s, about %s", text.Size(l.Bytes), text.Number(l.Records, "record"))
	if l.Seconds > 0 {
		line += fmt.Sprintf(", the oldest %s old", text.Span(time.Duration(l.Seconds*float64(time.Second))))
	}
	return line
}

// fileTable returns the table of record files.
func fileTable(all []api.File, p text.Painter) []string {
	t := text.NewTable(text.Right("LAG"), text.Right("DELIVERED TO"), text.Left("STATE"), text.Left("FILE"))
	for _, f := range all {
		state := text.Cell{Text: "ok"}
		if f.Error != "" {
			state = text.Cell{Text: "ERROR", Colour: text.Red}
		}
		t.Row(text.Cell{Text: text.Size(f.Lag)}, text.Cell{Text: fmt.Sprint(f.Offset)}, state, text.Cell{Text: f.Path})
		if f.File != "" && f.File != f.Path {
			t.Note(text.Plain, "in "+f.File)
		}
		if f.Error != "" {
			t.Note(text.Red, f.Error)
		}
	}
	return t.Lines(p)
}
