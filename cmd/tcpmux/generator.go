package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"tcpmux/cmd/internal/cli"
	"tcpmux/cmd/tcpmux/generator"
	"tcpmux/config"
)

// generatorName is what this program is called where systemd looks for generators.
const generatorName = "tcpmux-generator"

// generate is the program under its other name: systemd runs it at boot and at every daemon-reload, with three directories for
// units (systemd.generator(7)), of which the first is used. It returns the exit status.
func generate(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet(generatorName, flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", config.DefaultPath, "the configuration `FILE`; one that is not there asks for nothing")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return cli.StatusUsage
	case flags.NArg() != 3:
		fmt.Fprintf(stderr, "usage: %s [--config FILE] NORMAL-DIR EARLY-DIR LATE-DIR\n", generatorName)
		return cli.StatusUsage
	}
	err := generator.Run(*path, flags.Arg(0), config.HasIPv6())
	if err == nil {
		return 0
	}
	told := true
	for line := range strings.Lines(err.Error()) {
		told = tell(stderr, strings.TrimSuffix(line, "\n")) && told
	}
	if errors.Is(err, config.ErrInvalid) {
		told = tell(stderr, "nothing is taken from "+*path+": tcpmux.socket listens where the package has it, 127.0.0.1:12345") && told
		if !told {
			_ = generator.TellLater(*path, flags.Arg(0)) // nobody hears of its failing either
		}
	}
	return cli.StatusFailed
}

// tell says what went wrong to the journal when systemd is the caller, else to standard error. $SYSTEMD_SCOPE is systemd 251's.
// It returns false when nobody heard it: what systemd's generators write to standard error is lost.
func tell(stderr io.Writer, line string) bool {
	started := os.Getenv("SYSTEMD_SCOPE") != ""
	if started && generator.Tell(generator.Error, line) == nil {
		return true
	}
	fmt.Fprintf(stderr, "%s: %s\n", generatorName, line)
	return !started
}
