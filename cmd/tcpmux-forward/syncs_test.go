package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpmux/cmd/internal/clitest"
	"tcpmux/daemon/delivery"
)

// watched is the argument that has this program become another one, whose syncs the test hears of.
const watched = "with-watched-syncs"

// becomeWatched executes a program for which fsync(2) and fdatasync(2) are what the test makes of
// them, by seccomp_unotify(2). The test gets what it needs for that over file 3.
func becomeWatched(args []string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	const number = 0 // of struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.SYS_FSYNC},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_FDATASYNC},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(fd)), nil, 0); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	unix.CloseOnExec(3)
	return syscall.Exec(args[0], args, os.Environ())
}

// file tells a file from others, whatever its name. An inode is used again.
type file struct {
	device uint64
	inode  uint64
	born   unix.StatxTimestamp
}

// fileOf returns which file has a name, or is open, and its size.
func fileOf(name string) (f file, size int64, mode uint16, err error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &s); err != nil {
		return file{}, 0, 0, &os.PathError{Op: "statx", Path: name, Err: err}
	}
	return file{uint64(s.Dev_major)<<32 | uint64(s.Dev_minor), s.Ino, s.Btime}, int64(s.Size), s.Mode, nil
}

// disk is what a machine that loses power finds again of the files of a program that is watched.
// Nothing is synced in truth.
type disk struct {
	t     *testing.T
	state string // the directory of the forwarder's state

	mu      sync.Mutex
	rnd     *rand.Rand
	durable map[file]int64 // up to where each file was synced
	states  [][]byte       // the state files that were there after a sync of their directory

	serving sync.WaitGroup // for programs that have not ended
}

func newDisk(t *testing.T, state string, rnd *rand.Rand) *disk {
	return &disk{t: t, state: state, rnd: rnd, durable: map[file]int64{}}
}

// starts starts a program, which it watches.
func (d *disk) starts(stderr io.Writer, args ...string) *exec.Cmd {
	d.t.Helper()
	self, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	own, theirs := os.NewFile(uintptr(pair[0]), "own"), os.NewFile(uintptr(pair[1]), "theirs")
	defer own.Close()
	defer theirs.Close()
	cmd := clitest.Program(d.t, self, append([]string{watched, built}, args...)...)
	cmd.Stderr, cmd.ExtraFiles = stderr, []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	_ = theirs.Close() // so that the end of the program is seen
	listener, err := received(pair[0])
	if err != nil {
		d.t.Fatalf("watch syncs: %v", err)
	}
	d.serving.Go(func() { d.serve(listener) })
	return cmd
}

// received returns the descriptor that comes over a socket.
func received(socket int) (fd int, err error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	for err == unix.EINTR {
		_, n, _, _, err = unix.Recvmsg(socket, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) == 0 {
		return 0, errors.Join(err, errors.New("no descriptor has come"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// notice is struct seccomp_notif, and answer is struct seccomp_notif_resp.
type notice struct {
	id     uint64
	thread uint32
	_      uint32
	number int32
	_      uint32
	_      uint64
	args   [6]uint64
}

type answer struct {
	id    uint64
	value int64
	err   int32
	_     uint32
}

// serve answers a program's syncs until it ends.
func (d *disk) serve(listener int) {
	defer unix.Close(listener)
	for {
		ready := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err == unix.EINTR {
			continue
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			return // nobody is left
		}
		var n notice
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // a signal has interrupted the call, or it was killed
		}
		d.sync(n.thread, int(n.args[0]))
		a := answer{id: n.id}
		// The same.
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a)))
	}
}

// sync notes what is durable of a file that a thread has open. It takes a while, as disks do.
func (d *disk) sync(thread uint32, fd int) {
	f, size, mode, err := fileOf(fmt.Sprintf("/proc/%d/fd/%d", thread, fd))
	if err != nil {
		return // it was killed
	}
	d.mu.Lock()
	pause := time.Duration(d.rnd.IntN(10_000)) * time.Microsecond
	if d.rnd.IntN(4) == 0 {
		pause *= 20
	}
	d.mu.Unlock()
	time.Sleep(pause) // any is right
	var state []byte
	isDir := mode&unix.S_IFMT == unix.S_IFDIR
	if isDir {
		state, err = os.ReadFile(delivery.Path(d.state))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if isDir {
		if err == nil { // a directory that was just made has none
			d.states = append(d.states, state)
		}
		return
	}
	d.durable[f] = max(d.durable[f], size)
}

// await waits until no program is left. A sync that one began before it was killed may still be
// under way, and must not see what becomes of the files.
func (d *disk) await() { d.serving.Wait() }

// synced returns up to where a file was synced.
func (d *disk) synced(f file) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.durable[f]
}

// saved returns the state files that were on disk at some time, the oldest first.
func (d *disk) saved() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.states)
}
