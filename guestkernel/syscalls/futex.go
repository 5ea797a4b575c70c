package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"futex":       sysFutex,
		"futex_waitv": sysFutexWaitv, "futex_wake": sysFutex2Wake, "futex_wait": sysFutex2Wait, "futex_requeue": sysFutex2Requeue,
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
	futexWait          = 0
	futexWake          = 1
	futexRequeue       = 3
	futexCmpRequeue    = 4
	futexWakeOp        = 5
	futexLockPI        = 6
	futexUnlockPI      = 7
	futexTrylockPI     = 8
	futexWaitBitset    = 9
	futexWakeBitset    = 10
	futexWaitRequeuePI = 11
	futexCmpRequeuePI  = 12
	futexLockPI2       = 13
	futexPrivate       = 128
	futexClockReal     = 256
	futexBitsetAny     = ^uint32(0)
)

// futexDeadline reads the time until which an operation waits. Errors: EFAULT, EINVAL.
func futexDeadline(t *task.Task, op, cmd int, addr uint64) (time.Time, error) {
	if addr == 0 {
		return time.Time{}, nil
	}
	d, err := getTimespec(t, addr)
	if err != nil {
		return time.Time{}, err
	}
	switch {
	case cmd == futexWait:
		return time.Now().Add(d), nil
	case cmd == futexLockPI || op&futexClockReal != 0:
		return afterReal(d), nil
	}
	return afterMonotonic(t, d), nil
}

func sysFutex(t *task.Task, a Args) (uint64, error) {
	op := a.Int(1)
	private := op&futexPrivate != 0
	cmd := op &^ (futexPrivate | futexClockReal)
	if op&futexClockReal != 0 && cmd != futexWaitBitset && cmd != futexWaitRequeuePI && cmd != futexLockPI2 {
		return 0, unix.ENOSYS
	}
	var deadline time.Time
	var err error
	switch cmd {
	case futexWait, futexWaitBitset, futexLockPI, futexLockPI2, futexWaitRequeuePI:
		if deadline, err = futexDeadline(t, op, cmd, a[3]); err != nil {
			return 0, err
		}
	}
	switch cmd {
	case futexWait:
		return 0, t.FutexWait(a[0], private, a.Uint(2), futexBitsetAny, deadline)
	case futexWaitBitset:
		return 0, t.FutexWait(a[0], private, a.Uint(2), a.Uint(5), deadline)
	case futexWake:
		return number(t.FutexWake(a[0], private, max(a.Int(2), 1), futexBitsetAny))
	case futexWakeBitset:
		return number(t.FutexWake(a[0], private, max(a.Int(2), 1), a.Uint(5)))
	case futexRequeue:
		return number(t.FutexRequeue(a[0], a[4], private, a.Int(2), a.Int(3), false, 0))
	case futexCmpRequeue:
		return number(t.FutexRequeue(a[0], a[4], private, a.Int(2), a.Int(3), true, a.Uint(5)))
	case futexWakeOp:
		return number(t.FutexWakeOp(a[0], a[4], private, a.Int(2), a.Int(3), a.Uint(5)))
	case futexLockPI, futexLockPI2:
		return 0, t.FutexLock(a[0], private, deadline, false)
	case futexTrylockPI:
		return 0, t.FutexLock(a[0], private, time.Time{}, true)
	case futexUnlockPI:
		return 0, t.FutexUnlock(a[0], private)
	case futexWaitRequeuePI:
		return 0, t.FutexWaitRequeue(a[0], a[4], private, a.Uint(2), deadline)
	case futexCmpRequeuePI:
		if a.Int(2) != 1 {
			return 0, unix.EINVAL
		}
		return number(t.FutexRequeueLock(a[0], a[4], private, a.Int(3), a.Uint(5)))
	}
	return 0, unix.ENOSYS
}

// Flags of the futex2 calls: a size, of which there is one, and futexPrivate.
const (
	futex2Size32 = 2
	futex2Flags  = 3 | futexPrivate
)

// futex2Word checks the flags of a futex2 call. The error is EINVAL.
func futex2Word(flags uint32) (private bool, err error) {
	if flags&^futex2Flags != 0 || flags&3 != futex2Size32 {
		return false, unix.EINVAL
	}
	return flags&futexPrivate != 0, nil
}

// futex2Deadline reads an absolute time of a clock. Errors: EINVAL, EFAULT.
func futex2Deadline(t *task.Task, addr uint64, clock int) (time.Time, error) {
	if addr == 0 {
		return time.Time{}, nil
	}
	if clock != unix.CLOCK_MONOTONIC && clock != unix.CLOCK_REALTIME {
		return time.Time{}, unix.EINVAL
	}
	d, err := getTimespec(t, addr)
	if err != nil {
		return time.Time{}, err
	}
	if clock == unix.CLOCK_REALTIME {
		return afterReal(d), nil
	}
	return afterMonotonic(t, d), nil
}

// maxWaitv is the largest number of words (FUTEX_WAITV_MAX).
const maxWaitv = 128

// waitvWords reads n structs futex_waitv. Errors: EFAULT, EINVAL.
func waitvWords(t *task.Task, addr uint64, n int) ([]task.FutexWord, error) {
	b := make([]byte, 24*n)
	if err := t.CopyInUser(addr, b); err != nil {
		return nil, err
	}
	words := make([]task.FutexWord, n)
	for i := range words {
		w := b[24*i:]
		private, err := futex2Word(le.Uint32(w[16:]))
		if err != nil || le.Uint32(w[20:]) != 0 || le.Uint64(w)>>32 != 0 {
			return nil, unix.EINVAL
		}
		words[i] = task.FutexWord{Value: le.Uint32(w), Addr: le.Uint64(w[8:]), Private: private}
	}
	return words, nil
}

func sysFutexWaitv(t *task.Task, a Args) (uint64, error) {
	n := a.Uint(1)
	if a.Uint(2) != 0 || n < 1 || n > maxWaitv || a[0] == 0 {
		return 0, unix.EINVAL
	}
	deadline, err := futex2Deadline(t, a[3], a.Int(4))
	if err != nil {
		return 0, err
	}
	words, err := waitvWords(t, a[0], int(n))
	if err != nil {
		return 0, err
	}
	return number(t.FutexWaitAny(words, deadline))
}

func sysFutex2Wake(t *task.Task, a Args) (uint64, error) {
	private, err := futex2Word(a.Uint(3))
	if err != nil || a[1]>>32 != 0 || uint32(a[1]) == 0 {
		return 0, unix.EINVAL
	}
	return number(t.FutexWake(a[0], private, a.Int(2), uint32(a[1])))
}

func sysFutex2Wait(t *task.Task, a Args) (uint64, error) {
	private, err := futex2Word(a.Uint(3))
	if err != nil || a[1]>>32 != 0 || a[2]>>32 != 0 {
		return 0, unix.EINVAL
	}
	deadline, err := futex2Deadline(t, a[4], a.Int(5))
	if err != nil {
		return 0, err
	}
	return 0, t.FutexWait(a[0], private, uint32(a[1]), uint32(a[2]), deadline)
}

func sysFutex2Requeue(t *task.Task, a Args) (uint64, error) {
	if a.Uint(1) != 0 || a[0] == 0 {
		return 0, unix.EINVAL
	}
	words, err := waitvWords(t, a[0], 2)
	if err != nil {
		return 0, err
	}
	if words[0].Private != words[1].Private {
		return 0, unix.EINVAL // of one word the key would be looked for in the wrong place
	}
	return number(t.FutexRequeue(words[0].Addr, words[1].Addr, words[0].Private, a.Int(2), a.Int(3), true, words[0].Value))
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
