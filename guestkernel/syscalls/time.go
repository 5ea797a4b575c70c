package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/wait"
)

func init() {
	register(map[string]Handler{
		"clock_gettime":   sysClockGettime,
		"clock_getres":    sysClockGetres,
		"clock_nanosleep": sysClockNanosleep,
		"nanosleep":       sysNanosleep,
		"gettimeofday":    sysGettimeofday,
		"time":            sysTime,
		"times":           sysTimes,
		"getrusage":       sysGetrusage,
		"alarm":           sysAlarm,
		"setitimer":       sysSetitimer,
		"getitimer":       sysGetitimer,
	})
}

// now reads a clock in nanoseconds. The error is EINVAL.
func now(t *task.Task, clock int) (int64, error) {
	switch clock {
	case unix.CLOCK_REALTIME, unix.CLOCK_REALTIME_COARSE, unix.CLOCK_REALTIME_ALARM, unix.CLOCK_TAI:
		return time.Now().UnixNano(), nil
	case unix.CLOCK_MONOTONIC, unix.CLOCK_MONOTONIC_RAW, unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME_ALARM:
		return int64(time.Since(t.Kernel().Started())), nil
	}
	c, err := t.CPUClock(clock)
	if err != nil {
		return 0, err
	}
	return int64(c.Now()), nil
}

// afterReal and afterMonotonic turn an absolute time of a clock into a deadline.
func afterReal(d time.Duration) time.Time {
	return time.Now().Add(d - time.Duration(time.Now().UnixNano()))
}

func afterMonotonic(t *task.Task, d time.Duration) time.Time {
	return time.Now().Add(d - time.Since(t.Kernel().Started()))
}

func sysClockGettime(t *task.Task, a Args) (uint64, error) {
	ns, err := now(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	return 0, putTimespec(t, a[1], ns)
}

func sysClockGetres(t *task.Task, a Args) (uint64, error) {
	if _, err := now(t, a.Int(0)); err != nil {
		return 0, err
	}
	res := int64(1)
	if c := a.Int(0); c == unix.CLOCK_REALTIME_COARSE || c == unix.CLOCK_MONOTONIC_COARSE {
		res = 4e6
	}
	if a[1] == 0 {
		return 0, nil
	}
	return 0, putTimespec(t, a[1], res)
}

func sysGettimeofday(t *task.Task, a Args) (uint64, error) {
	if a[0] != 0 {
		us := time.Now().UnixMicro()
		if err := putUint64s(t, a[0], uint64(us/1e6), uint64(us%1e6)); err != nil {
			return 0, err
		}
	}
	if a[1] != 0 {
		return 0, putUint64s(t, a[1], 0) // struct timezone
	}
	return 0, nil
}

func sysTime(t *task.Task, a Args) (uint64, error) {
	sec := uint64(time.Now().Unix())
	if a[0] != 0 {
		if err := putUint64s(t, a[0], sec); err != nil {
			return 0, err
		}
	}
	return sec, nil
}

func sysNanosleep(t *task.Task, a Args) (uint64, error) {
	d, err := getTimespec(t, a[0])
	if err != nil {
		return 0, err
	}
	return sleepUntil(t, time.Now().Add(d), a[1])
}

// sleepUntil sleeps and, when interrupted, stores the time that is left and prepares the restart.
func sleepUntil(t *task.Task, deadline time.Time, remaining uint64) (uint64, error) {
	if t.Sleep(nil, deadline) == wait.TimedOut {
		return 0, nil
	}
	if remaining != 0 {
		if err := putTimespec(t, remaining, int64(max(time.Until(deadline), 0))); err != nil {
			return 0, err
		}
	}
	t.SetRestart(func() (uint64, error) { return sleepUntil(t, deadline, remaining) })
	return 0, wait.ErrRestartBlock
}

func sysClockNanosleep(t *task.Task, a Args) (uint64, error) {
	const timerAbstime = 1
	clock := a.Int(0)
	switch clock {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME, unix.CLOCK_TAI:
	case unix.CLOCK_MONOTONIC_COARSE, unix.CLOCK_REALTIME_COARSE, unix.CLOCK_MONOTONIC_RAW:
		return 0, unix.ENOTSUP
	case unix.CLOCK_THREAD_CPUTIME_ID:
		return 0, unix.ENOTSUP
	default:
		c, err := t.CPUClock(clock)
		if err != nil {
			return 0, err
		}
		d, err := getTimespec(t, a[2])
		if err != nil {
			return 0, err
		}
		if a.Int(1)&timerAbstime == 0 {
			return cpuSleep(t, c, c.Now()+d, a[3], false)
		}
		return cpuSleep(t, c, d, 0, true)
	}
	d, err := getTimespec(t, a[2])
	if err != nil {
		return 0, err
	}
	if a.Int(1)&timerAbstime == 0 {
		return sleepUntil(t, time.Now().Add(d), a[3])
	}
	deadline := afterMonotonic(t, d)
	if clock == unix.CLOCK_REALTIME || clock == unix.CLOCK_TAI {
		deadline = afterReal(d)
	}
	if t.Sleep(nil, deadline) == wait.TimedOut {
		return 0, nil
	}
	return 0, wait.ErrRestartNoHandler
}

// cpuSleep is sleepUntil on a clock of CPU time.
func cpuSleep(t *task.Task, c task.CPUClock, at time.Duration, remaining uint64, absolute bool) (uint64, error) {
	if t.SleepOnCPUClock(c, at) == wait.TimedOut {
		return 0, nil
	}
	if absolute {
		return 0, wait.ErrRestartNoHandler
	}
	if remaining != 0 {
		if err := putTimespec(t, remaining, int64(max(at-c.Now(), 0))); err != nil {
			return 0, err
		}
	}
	t.SetRestart(func() (uint64, error) { return cpuSleep(t, c, at, remaining, false) })
	return 0, wait.ErrRestartBlock
}

const clockTick = time.Second / 100 // USER_HZ

func sysTimes(t *task.Task, a Args) (uint64, error) {
	own, children := t.Group().CPUTime()
	if a[0] != 0 {
		if err := putUint64s(t, a[0], uint64(own.User/clockTick), uint64(own.System/clockTick), uint64(children.User/clockTick), uint64(children.System/clockTick)); err != nil {
			return 0, err
		}
	}
	return uint64(time.Since(t.Kernel().Started()) / clockTick), nil
}

func sysGetrusage(t *task.Task, a Args) (uint64, error) {
	own, children := t.Group().CPUTime()
	rss, childRSS := t.Group().MaxRSS()
	usage := t.Space().Usage()
	r := rusageOf{own, max(rss, usage.PeakResident), usage.Faults, [2]uint64{}}
	r.switches[0], r.switches[1] = t.Group().Switches()
	switch a.Int(0) {
	case unix.RUSAGE_SELF:
	case unix.RUSAGE_CHILDREN:
		r = rusageOf{cpu: children, maxRSS: childRSS}
	case unix.RUSAGE_THREAD:
		r.cpu = t.CPUTimes()
		r.switches[0], r.switches[1] = t.Switches()
	default:
		return 0, unix.EINVAL
	}
	return 0, t.CopyOutUser(a[1], r.bytes())
}

func sysAlarm(t *task.Task, a Args) (uint64, error) {
	left, _ := t.Group().SetRealTimer(time.Duration(a.Uint(0))*time.Second, 0)
	return uint64((left + time.Second - 1) / time.Second), nil
}

func sysSetitimer(t *task.Task, a Args) (uint64, error) {
	which := a.Int(0)
	if which < 0 || which > unix.ITIMER_PROF {
		return 0, unix.EINVAL
	}
	var value, interval time.Duration
	if a[1] != 0 {
		w, err := getUint64s(t, a[1], 4)
		if err != nil {
			return 0, err
		}
		if interval, err = toDuration(int64(w[0]), int64(w[1]), 1000); err != nil {
			return 0, err
		}
		if value, err = toDuration(int64(w[2]), int64(w[3]), 1000); err != nil {
			return 0, err
		}
	}
	var left, old time.Duration
	if which == unix.ITIMER_REAL {
		left, old = t.Group().SetRealTimer(value, interval)
	} else {
		left, old = t.Group().SetCPUTimer(which-unix.ITIMER_VIRTUAL, value, interval)
	}
	if a[2] == 0 {
		return 0, nil
	}
	return 0, putItimer(t, a[2], left, old)
}

func sysGetitimer(t *task.Task, a Args) (uint64, error) {
	switch a.Int(0) {
	case unix.ITIMER_REAL:
		left, interval := t.Group().RealTimer()
		return 0, putItimer(t, a[1], left, interval)
	case unix.ITIMER_VIRTUAL, unix.ITIMER_PROF:
		left, interval := t.Group().CPUTimer(a.Int(0) - unix.ITIMER_VIRTUAL)
		return 0, putItimer(t, a[1], left, interval)
	}
	return 0, unix.EINVAL
}

func putItimer(t *task.Task, addr uint64, left, interval time.Duration) error {
	us := func(d time.Duration) (uint64, uint64) {
		return uint64(d / time.Second), uint64(d % time.Second / time.Microsecond)
	}
	is, iu := us(interval)
	ls, lu := us(left)
	return putUint64s(t, addr, is, iu, ls, lu)
}
