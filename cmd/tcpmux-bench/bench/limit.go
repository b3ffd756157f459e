package bench

import (
	"fmt"
	"syscall"
)

// spare is the number of descriptors that are needed in addition to those of clients.
const spare = 64

// checkDescriptors raises the limit of descriptors as far as possible, and returns an error if that
// is not enough.
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

// raiseDescriptors raises the soft limit to the hard one, for this process and the servers that it
// starts, and returns it.
func raiseDescriptors() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("read the limit of descriptors: %w", err)
	}
	l.Cur = l.Max
	// Go has raised the limit of this process by itself, but restores it in programs that it
	// starts unless package syscall has set it.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("raise the limit of descriptors to %d: %w", l.Max, err)
	}
	return l.Max, nil
}
