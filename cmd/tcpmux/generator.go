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

// generatorName is the name of this program where systemd looks for generators.
const generatorName = "tcpmux-generator"

// generate is the program under that name. systemd runs it at boot and at every daemon-reload, with
// three directories for units (systemd.generator(7)), of which it uses the first. It returns the
// exit status.
func generate(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet(generatorName, flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", config.DefaultPath, "the configuration `FILE`, with the drop-ins in FILE.d (/etc/tcpmux.d); a missing one generates nothing")
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
	logged := true
	for line := range strings.Lines(err.Error()) {
		logged = logError(stderr, strings.TrimSuffix(line, "\n")) && logged
	}
	if errors.Is(err, config.ErrInvalid) {
		logged = logError(stderr, "nothing is taken from "+*path+" and its drop-ins: tcpmux.socket listens where the package has it, 127.0.0.1:12345") && logged
		if !logged {
			// Nobody would see its error either.
			_ = generator.TellLater(*path, flags.Arg(0))
		}
	}
	return cli.StatusFailed
}

// logError writes what went wrong to the journal if systemd is the caller ($SYSTEMD_SCOPE, since
// systemd 251), else to standard error. It reports whether that can be seen: what generators write
// to standard error is lost when systemd runs them.
func logError(stderr io.Writer, line string) bool {
	started := os.Getenv("SYSTEMD_SCOPE") != ""
	if started && generator.Tell(generator.Error, line) == nil {
		return true
	}
	fmt.Fprintf(stderr, "%s: %s\n", generatorName, line)
	return !started
}
