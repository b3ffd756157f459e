package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rounds is how often measure repeats what it measures.
const rounds = 300

// patience is how long measure waits for what must come.
const patience = 20 * time.Second

// passage is the files with code that runs for every message.
type passage struct {
	message []string // for one more message of a connected client, from the read to write(2)
	// For one more client, from the accept to the close record, with one message.
	visit []string
}

// measure builds the daemon with counters in all statements of the module (go build -cover), and
// runs it three times with its default configuration: for one visit with one message, for one with
// many more messages, and for many more visits. A file is on the way if at least one statement of
// it has run more often than in the first run, by as much as there was more to do. So what runs at
// a start, once a second or for some messages only does not count, and nothing depends on samples.
func measure(ctx context.Context, root, module string) (p passage, err error) {
	dir, err := os.MkdirTemp("", "figures")
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := filepath.Join(dir, "tcpmux")
	build := exec.CommandContext(ctx, "go", "build", "-cover", "-covermode=atomic", "-coverpkg="+module+"/...",
		"-o", program, "./cmd/tcpmux")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build the daemon: %w\n%s", err, out)
	}
	least, err := counted(ctx, program, filepath.Join(dir, "least"), 1, 1)
	if err != nil {
		return p, err
	}
	messages, err := counted(ctx, program, filepath.Join(dir, "messages"), 1, 1+rounds)
	if err != nil {
		return p, err
	}
	visits, err := counted(ctx, program, filepath.Join(dir, "visits"), 1+rounds, 1)
	if err != nil {
		return p, err
	}
	return passage{passed(least, messages, rounds, module), passed(least, visits, rounds, module)}, nil
}

// passed returns the files with a block that ran at least by more often in the second profile.
func passed(before, after map[string]int, by int, module string) []string {
	files := map[string]bool{}
	for block, n := range after {
		if n-before[block] >= by {
			file, _, _ := strings.Cut(strings.TrimPrefix(block, module+"/"), ":")
			files[file] = true
		}
	}
	return slices.Sorted(maps.Keys(files))
}

// counted runs the daemon in a new directory, lets clients visit it one after another, and returns
// how often each block of its code has run.
func counted(ctx context.Context, program, dir string, visits, messages int) (map[string]int, error) {
	counters := filepath.Join(dir, "counters")
	if err := os.MkdirAll(counters, 0o755); err != nil {
		return nil, err
	}
	if err := serve(ctx, program, dir, counters, func(address string) error {
		for range visits {
			if err := visit(address, filepath.Join(dir, "records.log"), messages); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	text := filepath.Join(dir, "profile")
	convert := exec.CommandContext(ctx, "go", "tool", "covdata", "textfmt", "-i="+counters, "-o="+text)
	if out, err := convert.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("read the counters: %w\n%s", err, out)
	}
	f, err := os.Open(text)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseProfile(f)
}

// serve runs the daemon on a free port while f runs, and ends it by SIGTERM, so that it writes its
// counters.
func serve(ctx context.Context, program, dir, counters string, f func(address string) error) error {
	config := filepath.Join(dir, "tcpmux.toml")
	if err := os.WriteFile(config, []byte("address = \"127.0.0.1:0\"\n"), 0o644); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	daemon := exec.CommandContext(ctx, program, "run", "--config", config)
	daemon.Dir = dir
	daemon.Env = append(os.Environ(), "GOCOVERDIR="+counters, "NOTIFY_SOCKET=", "LISTEN_FDS=", "LOGS_DIRECTORY=")
	log, err := daemon.StderrPipe()
	if err != nil {
		return err
	}
	if err := daemon.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(log)
	address, err := listening(lines)
	if err == nil {
		err = f(address)
	}
	_ = daemon.Process.Signal(syscall.SIGTERM) // if it has ended, Wait says how
	// So that it is never blocked; Wait closes the pipe.
	_, _ = io.Copy(io.Discard, lines)
	return errors.Join(err, daemon.Wait())
}

// listening returns the address from the log line that shows it.
func listening(log *bufio.Reader) (string, error) {
	var all strings.Builder
	for {
		line, err := log.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			return "", fmt.Errorf("the daemon does not listen: %w\n%s", err, all.String())
		}
		if strings.Contains(line, " msg=listening ") {
			_, rest, _ := strings.Cut(line, " address=")
			address, _, _ := strings.Cut(rest, " ")
			return address, nil
		}
	}
}

// visit connects, takes the banner, sends messages and closes. It sends a message when the one
// before it is in the record file, so that each has a read and a write of its own.
func visit(address, records string, messages int) error {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	banner := make([]byte, 1<<10)
	if _, err := conn.Read(banner); err != nil {
		return fmt.Errorf("read the banner: %w", err)
	}
	for range messages {
		size := sizeOf(records)
		if _, err := io.WriteString(conn, "temperature 21.5\n"); err != nil {
			return err
		}
		for deadline := time.Now().Add(patience); sizeOf(records) <= size; time.Sleep(50 * time.Microsecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("a message was not recorded in %q within %v", records, patience)
			}
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn) // until the daemon closes
	return err
}

// sizeOf returns the size of a file, 0 while it does not exist.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// parseProfile reads the text form of a coverage profile: after a line with the mode, a line for
// each block, "FILE:FROM,TO STATEMENTS COUNT".
func parseProfile(r io.Reader) (map[string]int, error) {
	counts := map[string]int{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 2 && fields[0] == "mode:" {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("read a profile: got line %q, want a block and two numbers", lines.Text())
		}
		n, err := strconv.Atoi(fields[2])
		if err != nil {
			return nil, fmt.Errorf("read a profile: %w", err)
		}
		counts[fields[0]] += n
	}
	return counts, lines.Err()
}
