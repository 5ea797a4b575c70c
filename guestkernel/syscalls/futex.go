package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"futex": sysFutex,
		"set_robust_list": func(t *task.Task, a Args) (uint64, error) {
			if a[1] != 24 {
				return 0, unix.EINVAL
			}
			t.SetRobustList(a[0])
			return 0, nil
		},
		"get_robust_list": sysGetRobustList,
	})
}

// Operations of futex(2).
const (
	futexWait       = 0
	futexWake       = 1
	futexRequeue    = 3
	futexCmpRequeue = 4
	futexWakeOp     = 5
	futexWaitBitset = 9
	futexWakeBitset = 10
	futexPrivate    = 128
	futexClockReal  = 256
	futexBitsetAny  = ^uint32(0)
	maxInt          = 1<<31 - 1
)

func sysFutex(t *task.Task, a Args) (uint64, error) {
	op := a.Int(1)
	private := op&futexPrivate != 0
	cmd := op &^ (futexPrivate | futexClockReal)
	if op&futexClockReal != 0 && cmd != futexWait && cmd != futexWaitBitset {
		return 0, unix.ENOSYS
	}
	switch cmd {
	case futexWait, futexWaitBitset:
		var deadline time.Time
		if a[3] != 0 {
			d, err := getTimespec(t, a[3])
			if err != nil {
				return 0, err
			}
			switch {
			case cmd == futexWait:
				deadline = time.Now().Add(d)
			case op&futexClockReal != 0:
				deadline = afterReal(d)
			default:
				deadline = afterMonotonic(t, d)
			}
		}
		bits := futexBitsetAny
		if cmd == futexWaitBitset {
			bits = a.Uint(5)
		}
		return 0, t.FutexWait(a[0], private, a.Uint(2), bits, deadline)
	case futexWake, futexWakeBitset:
		bits := futexBitsetAny
		if cmd == futexWakeBitset {
			bits = a.Uint(5)
		}
		n, err := t.FutexWake(a[0], private, max(a.Int(2), 1), bits)
		return uint64(n), err
	case futexRequeue:
		n, err := t.FutexRequeue(a[0], a[4], private, a.Int(2), a.Int(3), false, 0)
		return uint64(n), err
	case futexCmpRequeue:
		n, err := t.FutexRequeue(a[0], a[4], private, a.Int(2), a.Int(3), true, a.Uint(5))
		return uint64(n), err
	case futexWakeOp:
		n, err := t.FutexWakeOp(a[0], a[4], private, a.Int(2), a.Int(3), a.Uint(5))
		return uint64(n), err
	}
	return 0, unix.ENOSYS
}

func sysGetRobustList(t *task.Task, a Args) (uint64, error) {
	target := t
	if pid := a.Int(0); pid != 0 {
		if target = t.Kernel().Find(t.Global(pid)); target == nil {
			return 0, unix.ESRCH
		}
		if target.Group() != t.Group() {
			return 0, unix.EPERM
		}
	}
	if err := putUint64s(t, a[1], target.RobustList()); err != nil {
		return 0, err
	}
	return 0, putUint64s(t, a[2], 24)
}
