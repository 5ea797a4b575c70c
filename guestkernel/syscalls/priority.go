package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"getpriority":            sysGetpriority,
		"setpriority":            func(t *task.Task, a Args) (uint64, error) { return 0, t.SetPriority(a.Int(0), a.Int(1), a.Int(2)) },
		"sched_getscheduler":     sysSchedGetscheduler,
		"sched_setscheduler":     sysSchedSetscheduler,
		"sched_getparam":         sysSchedGetparam,
		"sched_setparam":         sysSchedSetparam,
		"sched_get_priority_max": sysSchedPriorityMax,
		"sched_get_priority_min": sysSchedPriorityMin,
	})
}

// sysGetpriority answers 20 minus the nice value: a result must not be negative.
func sysGetpriority(t *task.Task, a Args) (uint64, error) {
	nice, err := t.Priority(a.Int(0), a.Int(1))
	return uint64(20 - nice), err
}

// scheduledTask is the task that a sched_* call means. Errors: EINVAL, ESRCH.
func scheduledTask(t *task.Task, pid int) (*task.Task, error) {
	switch {
	case pid < 0:
		return nil, unix.EINVAL
	case pid == 0:
		return t, nil
	}
	if o := t.Kernel().Find(t.Global(pid)); o != nil {
		return o, nil
	}
	return nil, unix.ESRCH
}

func sysSchedGetscheduler(t *task.Task, a Args) (uint64, error) {
	o, err := scheduledTask(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	return uint64(o.Policy()), nil
}

func sysSchedSetscheduler(t *task.Task, a Args) (uint64, error) {
	return 0, setScheduler(t, a.Int(0), a.Int(1), a[2])
}

// setScheduler checks a policy and the priority in a struct sched_param. Real-time policies are ENOSYS: nothing here could keep their promise.
func setScheduler(t *task.Task, pid, policy int, param uint64) error {
	if policy < 0 || param == 0 {
		return unix.EINVAL
	}
	var b [4]byte
	if err := t.CopyInUser(param, b[:]); err != nil {
		return err
	}
	o, err := scheduledTask(t, pid)
	if err != nil {
		return err
	}
	lowest, highest, err := schedPriorities(policy &^ unix.SCHED_RESET_ON_FORK)
	if err != nil {
		return err
	}
	if p := uint64(binary.LittleEndian.Uint32(b[:])); p < lowest || p > highest {
		return unix.EINVAL
	}
	switch policy {
	case unix.SCHED_NORMAL, unix.SCHED_BATCH, unix.SCHED_IDLE:
		return t.SetPolicy(o, policy)
	}
	return unix.ENOSYS
}

func sysSchedSetparam(t *task.Task, a Args) (uint64, error) {
	o, err := scheduledTask(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	return 0, setScheduler(t, a.Int(0), o.Policy(), a[1])
}

func sysSchedGetparam(t *task.Task, a Args) (uint64, error) {
	if a[1] == 0 {
		return 0, unix.EINVAL
	}
	if _, err := scheduledTask(t, a.Int(0)); err != nil {
		return 0, err
	}
	return 0, putUint32(t, a[1], 0)
}

// schedPriorities are the priority ranges of the policies (sched(7)).
func schedPriorities(policy int) (lowest, highest uint64, err error) {
	switch policy {
	case unix.SCHED_FIFO, unix.SCHED_RR:
		return 1, 99, nil
	case unix.SCHED_NORMAL, unix.SCHED_BATCH, unix.SCHED_IDLE, unix.SCHED_DEADLINE:
		return 0, 0, nil
	}
	return 0, 0, unix.EINVAL
}

func sysSchedPriorityMax(_ *task.Task, a Args) (uint64, error) {
	_, highest, err := schedPriorities(a.Int(0))
	return highest, err
}

func sysSchedPriorityMin(_ *task.Task, a Args) (uint64, error) {
	lowest, _, err := schedPriorities(a.Int(0))
	return lowest, err
}
