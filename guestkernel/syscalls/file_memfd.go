package syscalls

import (
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{"memfd_create": memfdCreate})
}

// memfds are where memory files live, by the memory that they are made of.
var memfds sync.Map

// maxMemfdName is the longest name in bytes: NAME_MAX without "memfd:".
const maxMemfdName = unix.NAME_MAX - 6

func memfdCreate(t *task.Task, a Args) (uint64, error) {
	flags := a.Uint(1)
	if flags&^(unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL|unix.MFD_EXEC) != 0 || flags&(unix.MFD_NOEXEC_SEAL|unix.MFD_EXEC) == unix.MFD_NOEXEC_SEAL|unix.MFD_EXEC {
		return 0, unix.EINVAL
	}
	name, err := t.Space().CopyInString(a[0], maxMemfdName)
	if err == unix.ENAMETOOLONG {
		err = unix.EINVAL
	}
	if err != nil {
		return 0, err
	}
	mode, seals := uint32(0o777), uint32(unix.F_SEAL_SEAL)
	if flags&unix.MFD_ALLOW_SEALING != 0 {
		seals = 0
	}
	if flags&unix.MFD_NOEXEC_SEAL != 0 {
		mode, seals = 0o666, 0x20 // F_SEAL_EXEC
	}
	frames := t.Kernel().Memory.Frames()
	m, ok := memfds.Load(frames)
	if !ok {
		m, _ = memfds.LoadOrStore(frames, tmpfs.NewMemfds(frames))
	}
	d, err := m.(*tmpfs.Memfds).Create(t, name, mode, seals, largeFile)
	if err != nil {
		return 0, err
	}
	return install(t, d, flags&unix.MFD_CLOEXEC != 0)
}
