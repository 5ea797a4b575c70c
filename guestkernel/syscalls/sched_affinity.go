package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"sched_yield":       func(t *task.Task, _ Args) (uint64, error) { t.Yield(); return 0, nil },
		"sched_getaffinity": sysSchedGetaffinity,
		"sched_setaffinity": sysSchedSetaffinity,
		"getcpu":            sysGetcpu,
	})
}

// affinityTask is the task that a number means: 0 the caller. The error is ESRCH.
func affinityTask(t *task.Task, tid int) (*task.Task, error) {
	if tid == 0 {
		return t, nil
	}
	if o := t.Kernel().Find(t.Global(tid)); o != nil {
		return o, nil
	}
	return nil, unix.ESRCH
}

// sysSchedGetaffinity answers the size of the kernel's mask, which is 8 bytes for up to 64 CPUs.
func sysSchedGetaffinity(t *task.Task, a Args) (uint64, error) {
	if a[1]*8 < uint64(t.Kernel().Machine.CPUs()) || a[1]%8 != 0 {
		return 0, unix.EINVAL
	}
	o, err := affinityTask(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	return 8, putUint64s(t, a[2], o.Affinity())
}

func sysSchedSetaffinity(t *task.Task, a Args) (uint64, error) {
	var b [8]byte
	if err := t.CopyInUser(a[2], b[:min(uint64(a.Uint(1)), 8)]); err != nil {
		return 0, err
	}
	o, err := affinityTask(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	return 0, t.SetAffinity(o, le.Uint64(b[:]))
}

func sysGetcpu(t *task.Task, a Args) (uint64, error) {
	cpu, node := uint32(t.CPU()), uint32(0)
	for i, v := range []uint32{cpu, node} {
		if a[i] != 0 {
			if err := putUint32(t, a[i], v); err != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}
