package main

import (
	"errors"
	"regexp"
	"strings"
)

// help is the help of a command, cut into its parts.
type help struct {
	text     [][]string // paragraphs of lines
	usage    []string
	examples []string
	commands []item
	flags    []item
}

// item is a term of a list with its description.
type item struct{ term, text string }

// itemForm is a line of a list: blanks, the term, two blanks or more, the text.
var itemForm = regexp.MustCompile(`^ +(\S.*?)  +(\S.*)$`)

// parseHelp parses the help that cobra prints: free text, and then sections that begin with a title
// at the margin.
func parseHelp(s string) (help, error) {
	var h help
	section := ""
	for _, par := range strings.Split(strings.TrimSpace(s), "\n\n") {
		lines := strings.Split(par, "\n")
		switch lines[0] {
		case "Usage:", "Examples:", "Available Commands:", "Flags:":
			section, lines = lines[0], lines[1:]
		default:
			if section != "" { // the hint at the end
				section = "end"
			}
		}
		switch section {
		case "":
			h.text = append(h.text, lines)
		case "Usage:":
			h.usage = trimmed(lines)
		case "Examples:":
			h.examples = trimmed(lines)
		case "Available Commands:":
			h.commands = items(lines)
		case "Flags:":
			h.flags = items(lines)
		}
	}
	if len(h.text) == 0 || len(h.usage) == 0 || len(h.flags) == 0 {
		return h, errors.New("this is no help: text, usage or flags are missing")
	}
	return h, nil
}

func trimmed(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = strings.TrimSpace(l)
	}
	return out
}

func items(lines []string) (list []item) {
	for _, l := range lines {
		if m := itemForm.FindStringSubmatch(l); m != nil {
			list = append(list, item{m[1], m[2]})
		}
	}
	return list
}
