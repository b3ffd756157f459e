package processors

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// times is how long the threads of the process have used a processor so far, and for how long they
// were denied one, as others had it.
type times struct{ used, denied time.Duration }

// measure returns the times of the process. The second is that of threads that have not ended.
func measure() (t times) {
	var used unix.Timespec
	// The clock is there in each kernel, and the memory is ours (clock_gettime(2)).
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used)
	t.used = time.Duration(used.Nano())
	if !allInUse() { // there may be thousands of threads, and nothing to decide
		t.denied = denied()
	}
	return t
}

// denied returns how long threads were ready to run and did not: the second figure of
// /proc/PID/task/TID/schedstat (Linux, Documentation/scheduler/sched-stats.rst). It is 0 where the
// kernel has none.
func denied() (sum time.Duration) {
	const tasks = "/proc/self/task"
	all, err := os.ReadDir(tasks)
	if err != nil {
		return 0
	}
	for _, task := range all {
		text, err := os.ReadFile(filepath.Join(tasks, task.Name(), "schedstat"))
		if err != nil {
			continue // the thread has ended
		}
		if fields := bytes.Fields(text); len(fields) > 1 {
			ns, _ := strconv.ParseInt(string(fields[1]), 10, 64) // what is no number counts for nothing
			sum += time.Duration(ns)
		}
	}
	return sum
}
