package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSIGKILLCostsNothingThatWasAcknowledged kills the daemon at any moment under load, again and again on one record file.
func TestSIGKILLCostsNothingThatWasAcknowledged(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 10
	}
	dir := t.TempDir()
	config := settings(t, dir, "127.0.0.1:0", `ack = "{offset}\n"`, `sync = "always"`)
	file := filepath.Join(dir, "records.log")
	read, acknowledged := 0, 0
	for kill := range kills {
		d, address := daemonOf(t, config)
		var clients [6]acknowledgedClient
		var talking sync.WaitGroup
		for i := range clients {
			talking.Go(func() { clients[i].talk(t, address, fmt.Sprintf("kill %d client %d", kill, i)) })
		}
		time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond) // any moment is right
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
		talking.Wait()
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := string(content[read:])
		read += strings.LastIndexByte(lines, '\n') + 1 // what is behind it the next daemon cuts off
		seen := map[string]int{}
		for line := range strings.Lines(lines) {
			_, message, _ := strings.Cut(line, ": ")
			seen[message]++
		}
		for _, c := range clients {
			acknowledged += c.acknowledged
			for n := range c.acknowledged {
				if got := seen[c.message(n)]; got != 1 {
					t.Fatalf("got %q %d times, want it once: %d were acknowledged", c.message(n), got, c.acknowledged)
				}
			}
		}
	}
	if acknowledged < 10*kills {
		t.Errorf("got %d acknowledgements in %d lives, want more to prove something", acknowledged, kills)
	}
	t.Logf("%d messages were acknowledged", acknowledged)
}

// acknowledgedClient says messages, some ahead, and counts how many are acknowledged.
type acknowledgedClient struct {
	name         string
	acknowledged int
}

func (c *acknowledgedClient) message(n int) string { return fmt.Sprintf("%s message %d\n", c.name, n) }

// talk goes on until the connection ends.
func (c *acknowledgedClient) talk(t *testing.T, address, name string) {
	c.name = name
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return // it was killed before
	}
	defer conn.Close()
	heard := bufio.NewReader(conn)
	if _, err := heard.ReadString('\n'); err != nil { // the banner
		return
	}
	const ahead = 8
	offset := 0
	for n := 0; ; n++ {
		if _, err := conn.Write([]byte(c.message(n))); err != nil {
			return
		}
		if n < ahead {
			continue
		}
		ack, err := heard.ReadString('\n')
		if err != nil {
			return
		}
		if want := fmt.Sprintln(offset); ack != want {
			t.Errorf("%s: got acknowledgement %q, want %q", name, ack, want)
			return
		}
		offset += len(c.message(c.acknowledged))
		c.acknowledged++
	}
}
