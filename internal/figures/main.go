// Command figures prints the shape of this module's code: the sizes of its packages, files,
// functions and structs, what is undocumented, and how many files one message passes. Run it with
// "make figures", or with "go run ./internal/figures" anywhere in the module.
//
// All figures but the last come from the source alone, so they are also printed for a tree that
// does not build. The limits are examples to grow towards: none of them makes the command fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "figures: %v\n", err)
		os.Exit(1)
	}
}

// run prints all figures of the module that the working directory belongs to.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	measured := flags.Bool("measure", true, "build and run the daemon, to count the files that one message passes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	t, err := load(root)
	if err != nil {
		return err
	}
	r := report{out}
	r.packages(t)
	r.shape(t)
	if *measured {
		r.passages(measure(ctx, root, t.module))
	}
	return nil
}

// moduleRoot returns the directory of the working directory's go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the module: no go.mod in the working directory or above it")
		}
		dir = parent
	}
}
