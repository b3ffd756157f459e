package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// page is a manual page of section 1.
type page struct {
	name    string // tcpmux-run
	short   string // the line of NAME
	help    help
	date    time.Time
	version string
}

// roff returns the page in the macros of man(7).
func (p page) roff() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 %s \"tcpmux %s\" \"tcpmux manual\"\n", strings.ToUpper(p.name), p.date.Format(time.DateOnly), p.version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", p.name, escape(p.short))
	b.WriteString(".SH SYNOPSIS\n.nf\n")
	for _, l := range p.help.usage {
		line(&b, "\\fB"+escape(strings.TrimSuffix(l, " [flags]"))+"\\fP")
	}
	b.WriteString(".fi\n.SH DESCRIPTION\n")
	p.description(&b)
	p.lists(&b)
	p.exitStatus(&b)
	if len(p.help.examples) > 0 {
		b.WriteString(".SH EXAMPLES\n")
		verbatim(&b, p.help.examples)
	}
	if p.name != "tcpmux" {
		b.WriteString(".SH SEE ALSO\n.BR tcpmux (1),\n.BR tcpmux.toml (5)\n")
	}
	return b.String()
}

const exitStatus = "Exit status: "

// description writes the free text, without the paragraph about the exit status, which has a
// section of its own.
func (p page) description(b *strings.Builder) {
	first := true
	for _, par := range p.help.text {
		switch {
		case strings.HasPrefix(par[0], exitStatus):
			continue
		case strings.HasPrefix(par[0], "\t"):
			b.WriteString(".PP\n")
			verbatim(b, trimmed(par))
			continue
		case !first:
			b.WriteString(".PP\n")
		}
		first = false
		for _, l := range par {
			line(b, escape(strings.TrimLeft(l, "# ")))
		}
	}
}

func (p page) exitStatus(b *strings.Builder) {
	for _, par := range p.help.text {
		if text, ok := strings.CutPrefix(strings.Join(par, "\n"), exitStatus); ok {
			b.WriteString(".SH EXIT STATUS\n")
			for _, l := range strings.Split(capital(text), "\n") {
				line(b, escape(l))
			}
		}
	}
}

// lists writes the lists of commands and options.
func (p page) lists(b *strings.Builder) {
	if len(p.help.commands) > 0 {
		b.WriteString(".SH COMMANDS\n")
	}
	for _, c := range p.help.commands {
		fmt.Fprintf(b, ".TP\n\\fB%s\\fP\n", escape(c.term))
		see := ""
		if p.name == "tcpmux" && c.term != "help" {
			see = fmt.Sprintf("; see\n.BR %s\\-%s (1)", p.name, c.term)
		}
		line(b, escape(c.text)+see)
	}
	b.WriteString(".SH OPTIONS\n")
	for _, f := range p.help.flags {
		fmt.Fprintf(b, ".TP\n\\fB%s\\fP\n", escape(f.term))
		line(b, escape(capital(f.text)))
	}
}

func verbatim(b *strings.Builder, lines []string) {
	b.WriteString(".nf\n.RS 4\n")
	for _, l := range lines {
		line(b, escape(l))
	}
	b.WriteString(".RE\n.fi\n")
}

// line writes a line of text, and protects it if roff would read it as a request.
func line(b *strings.Builder, s string) {
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	b.WriteString(s + "\n")
}

// roff turns a plain minus into a hyphen, which no shell understands, and quotes and accents into
// their typographic forms.
var escapes = strings.NewReplacer(`\`, `\e`, `-`, `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

func escape(s string) string { return escapes.Replace(s) }

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func uncapital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}
