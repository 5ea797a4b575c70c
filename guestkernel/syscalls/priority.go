package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"getpriority":        sysGetpriority,
		"setpriority":        func(t *task.Task, a Args) (uint64, error) { return 0, t.SetPriority(a.Int(0), a.Int(1), a.Int(2)) },
		"sched_getscheduler": sysSchedGetscheduler,
		"sched_setscheduler": sysSchedSetscheduler,
		"sched_getparam":     sysSchedGetparam,
		"sched_setparam":     sysSchedSetparam,
		"sched_setattr":      sysSchedSetattr, "sched_getattr": sysSchedGetattr, "sched_rr_get_interval": sysSchedRRGetInterval,
		"ioprio_set": func(t *task.Task, a Args) (uint64, error) {
			return 0, t.SetIOPriority(ioprioWhich(a.Int(0)), a.Int(1), a.Int(2))
		},
		"ioprio_get": func(t *task.Task, a Args) (uint64, error) {
			return number(t.IOPriorityOf(ioprioWhich(a.Int(0)), a.Int(1)))
		},
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
	return uint64(o.Policy()) | btoi(o.ResetsOnFork())*unix.SCHED_RESET_ON_FORK, nil
}

func sysSchedSetscheduler(t *task.Task, a Args) (uint64, error) {
	policy := a.Int(1)
	if policy < 0 {
		return 0, unix.EINVAL
	}
	return 0, setScheduler(t, a.Int(0), policy, a[2])
}

const keepPolicy = -1

// setScheduler sets a policy with the priority in a struct sched_param. Errors: EINVAL, EFAULT, ESRCH, EPERM.
func setScheduler(t *task.Task, pid, policy int, param uint64) error {
	if param == 0 || pid < 0 {
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
	s := o.Schedule()
	if policy != keepPolicy {
		s.Policy, s.ResetOnFork = policy&^unix.SCHED_RESET_ON_FORK, policy&unix.SCHED_RESET_ON_FORK != 0
	}
	s.Priority = int(int32(le.Uint32(b[:])))
	if s.Policy == unix.SCHED_DEADLINE {
		return unix.EINVAL // it wants times
	}
	return t.SetSchedule(o, s)
}

func sysSchedSetparam(t *task.Task, a Args) (uint64, error) {
	return 0, setScheduler(t, a.Int(0), keepPolicy, a[1])
}

func sysSchedGetparam(t *task.Task, a Args) (uint64, error) {
	if a[1] == 0 {
		return 0, unix.EINVAL
	}
	o, err := scheduledTask(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	return 0, putUint32(t, a[1], uint32(o.RealtimePriority()))
}

// Sizes of struct sched_attr, and its flags.
const (
	schedAttrFirst  = 48
	schedAttrSize   = 56
	schedFlagReset  = 0x01
	schedFlagPolicy = 0x08 // SCHED_FLAG_KEEP_POLICY
	schedFlagParams = 0x10 // SCHED_FLAG_KEEP_PARAMS
	schedFlagClamp  = 0x60
	schedFlagsAll   = 0x7f
)

func sysSchedSetattr(t *task.Task, a Args) (uint64, error) {
	if a[1] == 0 || a.Int(0) < 0 || a.Uint(2) != 0 {
		return 0, unix.EINVAL
	}
	var head [4]byte
	if err := t.CopyInUser(a[1], head[:]); err != nil {
		return 0, err
	}
	size := le.Uint32(head[:])
	if size == 0 {
		size = schedAttrFirst
	}
	tooBig := func() (uint64, error) {
		if err := putUint32(t, a[1], schedAttrSize); err != nil {
			return 0, err
		}
		return 0, unix.E2BIG
	}
	if size < schedAttrFirst || size > 4096 {
		return tooBig()
	}
	b := make([]byte, max(size, schedAttrSize))
	if err := t.CopyInUser(a[1], b[:size]); err != nil {
		return 0, err
	}
	for _, rest := range b[schedAttrSize:] {
		if rest != 0 {
			return tooBig()
		}
	}
	flags := le.Uint64(b[8:])
	if flags&schedFlagClamp != 0 && size < schedAttrSize {
		return 0, unix.EINVAL
	}
	policy := int(int32(le.Uint32(b[4:])))
	if policy < 0 || flags&^schedFlagsAll != 0 {
		return 0, unix.EINVAL
	}
	o, err := scheduledTask(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	s := o.Schedule()
	if flags&schedFlagPolicy == 0 {
		s.Policy = policy
	}
	if flags&schedFlagParams == 0 {
		s.Nice, s.Priority = min(max(int(int32(le.Uint32(b[16:]))), -20), 19), int(int32(le.Uint32(b[20:])))
	}
	if s.ResetOnFork = flags&schedFlagReset != 0; flags&schedFlagPolicy != 0 {
		s.ResetOnFork = o.ResetsOnFork()
	}
	return 0, t.SetSchedule(o, s)
}

func sysSchedGetattr(t *task.Task, a Args) (uint64, error) {
	size := a.Uint(2)
	if a[1] == 0 || a.Int(0) < 0 || size < schedAttrFirst || size > 4096 || a.Uint(3) != 0 {
		return 0, unix.EINVAL
	}
	o, err := scheduledTask(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	size = min(size, schedAttrSize)
	s := o.Schedule()
	b := make(layout, schedAttrSize)
	b.put32(0, size)
	b.put32(4, uint32(s.Policy))
	b.put64(8, btoi(s.ResetOnFork)*schedFlagReset)
	if s.Priority != 0 {
		b.put32(20, uint32(s.Priority))
	} else {
		b.put32(16, uint32(s.Nice))
	}
	b.put32(52, 1024) // no clamp
	return 0, t.CopyOutUser(a[1], b[:size])
}

// sysSchedRRGetInterval: the slice of SCHED_RR is Linux's, that of other tasks what the kernel lets a thread run while others wait.
func sysSchedRRGetInterval(t *task.Task, a Args) (uint64, error) {
	o, err := scheduledTask(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	slice := int64(4e6)
	switch o.Policy() {
	case unix.SCHED_RR:
		slice = 100e6
	case unix.SCHED_FIFO:
		slice = 0
	}
	return 0, putTimespec(t, a[1], slice)
}

// ioprioWhich makes a which of ioprio_set(2) one of setpriority(2).
func ioprioWhich(which int) int { return which - 1 }

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
