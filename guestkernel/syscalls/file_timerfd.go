package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/eventfs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"timerfd_create": timerfdCreate, "timerfd_settime": timerfdSettime, "timerfd_gettime": timerfdGettime,
		"signalfd": signalfd, "signalfd4": signalfd4,
	})
}

func timerfdCreate(t *task.Task, a Args) (uint64, error) {
	if a.Uint(1)&^(unix.TFD_CLOEXEC|unix.TFD_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	switch a.Int(0) {
	case unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC, unix.CLOCK_BOOTTIME:
	case unix.CLOCK_REALTIME_ALARM, unix.CLOCK_BOOTTIME_ALARM:
		if !t.Creds().Has(unix.CAP_WAKE_ALARM) {
			return 0, unix.EPERM
		}
	default:
		return 0, unix.EINVAL
	}
	d, err := eventfs.NewTimer(t, a.Int(0), a.Uint(1)&unix.TFD_NONBLOCK)
	if err != nil {
		return 0, err
	}
	return install(t, d, a.Uint(1)&unix.TFD_CLOEXEC != 0)
}

func timerOf(t *task.Task, fd int) (*vfs.Description, *eventfs.Timer, error) {
	d, err := get(t, fd)
	if err != nil {
		return nil, nil, err
	}
	timer, err := eventfs.TimerOf(d)
	if err != nil {
		d.Unref()
		return nil, nil, err
	}
	return d, timer, nil
}

// timespec reads a timespec: EINVAL unless it is a time that is not negative.
func timespec(b []byte) (time.Duration, error) {
	sec, ns := int64(le.Uint64(b)), int64(le.Uint64(b[8:]))
	if sec < 0 || ns < 0 || ns >= 1e9 {
		return 0, unix.EINVAL
	}
	return time.Duration(min(sec, maxTimeout/int64(time.Second)-1))*time.Second + time.Duration(ns), nil
}

// timerValue lays out struct itimerspec {interval, value}.
func timerValue(left, interval time.Duration) []byte {
	var b []byte
	for _, d := range []time.Duration{interval, left} {
		b = le.AppendUint64(b, uint64(d/time.Second))
		b = le.AppendUint64(b, uint64(d%time.Second))
	}
	return b
}

func timerfdSettime(t *task.Task, a Args) (uint64, error) {
	const absolute, cancelOnSet = unix.TFD_TIMER_ABSTIME, unix.TFD_TIMER_CANCEL_ON_SET
	if a.Uint(1)&^(absolute|cancelOnSet) != 0 {
		return 0, unix.EINVAL
	}
	var b [32]byte
	if err := t.CopyInUser(a[2], b[:]); err != nil {
		return 0, err
	}
	interval, err := timespec(b[:])
	if err != nil {
		return 0, err
	}
	value, err := timespec(b[16:])
	if err != nil {
		return 0, err
	}
	d, timer, err := timerOf(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	var next time.Time
	switch {
	case value == 0:
	case a.Uint(1)&absolute == 0:
		next = time.Now().Add(value)
	case timer.Clock == unix.CLOCK_REALTIME || timer.Clock == unix.CLOCK_REALTIME_ALARM:
		next = afterReal(value)
	default:
		next = afterMonotonic(t, value)
	}
	left, old := timer.Set(next, interval)
	if a[3] == 0 {
		return 0, nil
	}
	return 0, t.CopyOutUser(a[3], timerValue(left, old))
}

func timerfdGettime(t *task.Task, a Args) (uint64, error) {
	d, timer, err := timerOf(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	left, interval := timer.Get()
	return 0, t.CopyOutUser(a[1], timerValue(left, interval))
}

func signalfd(t *task.Task, a Args) (uint64, error) {
	return makeSignalfd(t, a.Int(0), a[1], a[2], 0)
}

func signalfd4(t *task.Task, a Args) (uint64, error) {
	return makeSignalfd(t, a.Int(0), a[1], a[2], a.Uint(3))
}

func makeSignalfd(t *task.Task, fd int, maskAddr, size uint64, flags uint32) (uint64, error) {
	if size != 8 || flags&^(unix.SFD_CLOEXEC|unix.SFD_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	var b [8]byte
	if err := t.CopyInUser(maskAddr, b[:]); err != nil {
		return 0, err
	}
	set := task.SigSet(le.Uint64(b[:]))
	if fd == -1 {
		d, err := eventfs.SignalFD(t, nil, set, flags&unix.SFD_NONBLOCK)
		if err != nil {
			return 0, err
		}
		return install(t, d, flags&unix.SFD_CLOEXEC != 0)
	}
	d, err := get(t, fd)
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	_, err = eventfs.SignalFD(t, d, set, 0)
	return uint64(fd), err
}
