// Command man makes the manual pages of a program from its help: man PROGRAM DIR VERSION. It runs
// PROGRAM for its help, and writes NAME.1, and NAME-COMMAND.1 for each command, into DIR. So pages
// and help cannot differ. Text that does not belong in the help is in NAME.1.tail next to this
// file, in roff, and is appended to the page.
//
// The date of the pages is that of $SOURCE_DATE_EPOCH.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: man PROGRAM DIR VERSION")
		os.Exit(64)
	}
	if err := pages(os.Args[1], os.Args[2], os.Args[3], "packaging/man"); err != nil {
		fmt.Fprintf(os.Stderr, "man: %v\n", err)
		os.Exit(1)
	}
}

// shorts has the line of the NAME section for each program.
var shorts = map[string]string{
	"tcpmux":         "TCP front desk that greets clients and records what they send",
	"tcpmux-bench":   "put many clients on a TCP server at once and measure it",
	"tcpmux-forward": "deliver the records of tcpmux to NATS JetStream",
}

// pages writes all pages into dir, which it creates. tails is the directory of the tails.
func pages(program, dir, version, tails string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	top, err := helpOf(program)
	if err != nil {
		return err
	}
	date, err := epoch()
	if err != nil {
		return err
	}
	name := filepath.Base(program)
	short, ok := shorts[name]
	if !ok {
		return fmt.Errorf("program %q has no line for its NAME section", name)
	}
	p := page{name: name, short: short, help: top, date: date, version: version}
	if err := p.write(dir, tails); err != nil {
		return err
	}
	for _, c := range top.commands {
		if c.term == "help" {
			continue // the page of the program describes it
		}
		h, err := helpOf(program, c.term)
		if err != nil {
			return err
		}
		p := page{name: name + "-" + c.term, short: uncapital(c.text), help: h, date: date, version: version}
		if err := p.write(dir, tails); err != nil {
			return err
		}
	}
	return nil
}

// helpOf runs the program to get the help of a command, or its own.
func helpOf(program string, command ...string) (help, error) {
	out, err := exec.Command(program, append(command, "--help")...).Output()
	if err != nil {
		return help{}, fmt.Errorf("help of %q: %w", command, err)
	}
	return parseHelp(string(out))
}

// epoch returns the date of $SOURCE_DATE_EPOCH, or today if it is not set.
func epoch() (time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return time.Now().UTC(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(n, 0).UTC(), nil
}

// write writes the page, with its tail if it has one.
func (p page) write(dir, tails string) error {
	name := p.name + ".1"
	tail, err := os.ReadFile(filepath.Join(tails, name+".tail"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append([]byte(p.roff()), tail...), 0o644)
}
