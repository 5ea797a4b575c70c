package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"mlock":    func(t *task.Task, a Args) (uint64, error) { return lock(t, a, false) },
		"mlock2":   sysMlock2,
		"munlock":  func(t *task.Task, a Args) (uint64, error) { return 0, t.Space().Lock(a[0], a[1], false, false, 0) },
		"mlockall": sysMlockall,
		"munlockall": func(t *task.Task, a Args) (uint64, error) {
			t.Space().UnlockAll()
			return 0, nil
		},
	})
}

// lockLimit is the number of bytes that the task may lock; 0: it may not at all.
func lockLimit(t *task.Task) uint64 {
	if t.Creds().Effective.Has(unix.CAP_IPC_LOCK) {
		return ^uint64(0)
	}
	return t.Rlimit(unix.RLIMIT_MEMLOCK) &^ 4095
}

func lock(t *task.Task, a Args, onFault bool) (uint64, error) {
	if t.Rlimit(unix.RLIMIT_MEMLOCK) == 0 && lockLimit(t) == 0 {
		return 0, unix.EPERM
	}
	return 0, t.Space().Lock(a[0], a[1], true, onFault, lockLimit(t))
}

func sysMlock2(t *task.Task, a Args) (uint64, error) {
	const onFault = 1
	if a.Int(2)&^onFault != 0 {
		return 0, unix.EINVAL
	}
	return lock(t, a, a.Int(2)&onFault != 0)
}

func sysMlockall(t *task.Task, a Args) (uint64, error) {
	flags := a.Int(0)
	if flags == 0 || flags&^(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) != 0 || flags == unix.MCL_ONFAULT {
		return 0, unix.EINVAL
	}
	if t.Rlimit(unix.RLIMIT_MEMLOCK) == 0 && lockLimit(t) == 0 {
		return 0, unix.EPERM
	}
	return 0, t.Space().LockAll(flags&unix.MCL_CURRENT != 0, flags&unix.MCL_FUTURE != 0, flags&unix.MCL_ONFAULT != 0, lockLimit(t))
}
