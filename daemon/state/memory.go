package state

import (
	"os"

	"golang.org/x/sys/unix"
)

// createMemory makes a file in memory, whose size can be sealed.
func createMemory(name string) (fd int, err error) {
	fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	return fd, os.NewSyscallError("memfd_create", err)
}

// sealSize has a file keep its size: if another process that has the file could shorten it, access
// would crash (mmap(2), SIGBUS).
func sealSize(fd int) error {
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return os.NewSyscallError("fcntl", err)
}

// sealedSize returns the size of a file that sealSize has sealed, or errDamaged.
func sealedSize(fd int) (int64, error) {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return 0, errDamaged
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	if st.Size < pageSize {
		return 0, errDamaged
	}
	return st.Size, nil
}

// mapMemory maps the first size bytes of a file.
func mapMemory(fd, size int) ([]byte, error) {
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return mem, os.NewSyscallError("mmap", err)
}
