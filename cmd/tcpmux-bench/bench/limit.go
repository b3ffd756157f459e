package bench

import (
	"fmt"
	"syscall"
)

// spare is what descriptors are needed for besides clients.
const spare = 64

// checkDescriptors raises the limit of descriptors as far as it goes and sees whether that is enough.
func (o Options) checkDescriptors() error {
	limit, err := raiseDescriptors()
	if err != nil {
		return err
	}
	if need := uint64(o.Clients) + spare; need > limit {
		return fmt.Errorf("%d clients need %d descriptors and the limit is %d: %s", o.Clients, need, limit, advice(need, limit))
	}
	return nil
}

func advice(need, limit uint64) string {
	raise := fmt.Sprintf("raise it as root with \"ulimit -Hn %d\"", need)
	if limit <= spare {
		return raise
	}
	return fmt.Sprintf("use --clients %d, or %s", limit-spare, raise)
}

// raiseDescriptors raises the soft limit to the hard one, for us and the servers that we start, and returns it.
func raiseDescriptors() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("read the limit of descriptors: %w", err)
	}
	l.Cur = l.Max
	// Go has raised ours by itself; only a call of syscall's own makes it pass on to programs that are started.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("raise the limit of descriptors to %d: %w", l.Max, err)
	}
	return l.Max, nil
}
