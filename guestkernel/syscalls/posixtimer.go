package syscalls

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"timer_create":  sysTimerCreate,
		"timer_settime": sysTimerSettime,
		"timer_gettime": sysTimerGettime,
		"timer_getoverrun": func(t *task.Task, a Args) (uint64, error) {
			n, err := t.Group().TimerOverruns(a.Int(0))
			return uint64(n), err
		},
		"timer_delete": func(t *task.Task, a Args) (uint64, error) { return 0, t.Group().DeleteTimer(a.Int(0)) },
	})
}

// sysTimerCreate reads struct sigevent: value, signo, notify, tid.
func sysTimerCreate(t *task.Task, a Args) (uint64, error) {
	const sigevSignal, sigevNone, sigevThread, sigevThreadID = 0, 1, 2, 4
	clock := a.Int(0)
	var cpu *task.CPUClock
	switch clock {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_TAI:
	case unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM:
		if !t.Creds().Effective.Has(unix.CAP_WAKE_ALARM) {
			return 0, unix.EPERM
		}
		return 0, unix.EOPNOTSUPP // there is no clock that could wake the machine
	case unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_REALTIME_COARSE:
		return 0, unix.EOPNOTSUPP
	default:
		c, err := t.CPUClock(clock)
		if err != nil {
			return 0, err
		}
		cpu = &c
	}
	e := task.TimerEvent{Signal: int(unix.SIGALRM), ValueIsID: true}
	if a[1] != 0 {
		var b [20]byte
		if err := t.CopyInUser(a[1], b[:]); err != nil {
			return 0, err
		}
		e = task.TimerEvent{Signal: int(int32(binary.LittleEndian.Uint32(b[8:]))), Value: binary.LittleEndian.Uint64(b[0:])}
		switch binary.LittleEndian.Uint32(b[12:]) {
		case sigevNone:
			e.None = true
		case sigevSignal, sigevThread:
		case sigevThreadID:
			if e.Thread = int(int32(binary.LittleEndian.Uint32(b[16:]))); e.Thread <= 0 {
				return 0, unix.EINVAL
			}
		default:
			return 0, unix.EINVAL
		}
	}
	id, err := t.NewTimer(clock, cpu, e)
	if err != nil {
		return 0, err
	}
	if err := putUint32(t, a[2], uint32(id)); err != nil {
		t.Group().DeleteTimer(id) // it was made just now
		return 0, err
	}
	return 0, nil
}

func sysTimerSettime(t *task.Task, a Args) (uint64, error) {
	const abstime = 1
	_, _, clock, cpu, err := t.Group().Timer(a.Int(0))
	if err != nil {
		return 0, err
	}
	if a[2] == 0 {
		return 0, unix.EINVAL
	}
	w, err := getUint64s(t, a[2], 4)
	if err != nil {
		return 0, err
	}
	interval, err := toDuration(int64(w[0]), int64(w[1]), 1)
	if err != nil {
		return 0, err
	}
	value, err := toDuration(int64(w[2]), int64(w[3]), 1)
	if err != nil {
		return 0, err
	}
	var deadline time.Time
	switch {
	case value == 0:
		interval = 0
	case a.Int(1)&abstime == 0:
		deadline = time.Now().Add(value)
	case clock == unix.CLOCK_REALTIME || clock == unix.CLOCK_TAI:
		deadline = afterReal(value)
	default:
		deadline = afterMonotonic(t, value)
	}
	var left, old time.Duration
	if cpu != nil {
		if value > 0 && a.Int(1)&abstime == 0 {
			value += cpu.Now()
		}
		left, old, err = t.Group().SetCPUTimerAt(a.Int(0), value, interval)
	} else {
		left, old, err = t.Group().SetTimer(a.Int(0), deadline, interval)
	}
	if err != nil || a[3] == 0 {
		return 0, err
	}
	return 0, putItimerspec(t, a[3], left, old)
}

func sysTimerGettime(t *task.Task, a Args) (uint64, error) {
	left, interval, _, _, err := t.Group().Timer(a.Int(0))
	if err != nil {
		return 0, err
	}
	return 0, putItimerspec(t, a[1], left, interval)
}

func putItimerspec(t *task.Task, addr uint64, left, interval time.Duration) error {
	return putUint64s(t, addr, uint64(interval/time.Second), uint64(interval%time.Second), uint64(left/time.Second), uint64(left%time.Second))
}
