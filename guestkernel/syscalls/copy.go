package syscalls

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func putUint32(t *task.Task, addr uint64, v uint32) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return t.CopyOutUser(addr, b[:])
}

func putUint64s(t *task.Task, addr uint64, vs ...uint64) error {
	var few [8 * 8]byte
	b := few[:]
	if len(vs) > 8 {
		b = make([]byte, 8*len(vs))
	}
	b = b[:8*len(vs)]
	for i, v := range vs {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	return t.CopyOutUser(addr, b)
}

func getUint64(t *task.Task, addr uint64) (uint64, error) {
	var b [8]byte
	err := t.CopyInUser(addr, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

func getUint64s(t *task.Task, addr uint64, n int) ([]uint64, error) {
	b := make([]byte, 8*n)
	if err := t.CopyInUser(addr, b); err != nil {
		return nil, err
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return out, nil
}

// getTimespec reads a struct timespec. Errors: EFAULT, EINVAL (negative or a billion nanoseconds).
func getTimespec(t *task.Task, addr uint64) (time.Duration, error) {
	var b [16]byte
	if err := t.CopyInUser(addr, b[:]); err != nil {
		return 0, err
	}
	return toDuration(int64(binary.LittleEndian.Uint64(b[:])), int64(binary.LittleEndian.Uint64(b[8:])), 1)
}

// toDuration makes one of seconds and a fraction counted in units of unit nanoseconds; too long is cut to 292 years.
func toDuration(sec, frac, unit int64) (time.Duration, error) {
	if sec < 0 || frac < 0 || frac*unit >= 1e9 || frac >= 1e9 {
		return 0, unix.EINVAL
	}
	const most = int64(1<<63-1) / 1e9
	if sec >= most {
		return 1<<63 - 1, nil
	}
	return time.Duration(sec*1e9 + frac*unit), nil
}

func putTimespec(t *task.Task, addr uint64, ns int64) error {
	return putUint64s(t, addr, uint64(ns/1e9), uint64(ns%1e9))
}

// rusage is a struct rusage: only time and the largest resident size are known.
func rusage(cpu time.Duration, maxRSS uint64) []byte {
	b := make([]byte, 144)
	binary.LittleEndian.PutUint64(b[0:], uint64(cpu/time.Second))
	binary.LittleEndian.PutUint64(b[8:], uint64(cpu%time.Second/time.Microsecond))
	binary.LittleEndian.PutUint64(b[32:], maxRSS>>10)
	return b
}
