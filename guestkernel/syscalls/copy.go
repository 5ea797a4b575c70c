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
	return t.Space().Load64(addr)
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

// rusageOf is what is known of a struct rusage.
type rusageOf struct {
	cpu      task.CPUTimes
	maxRSS   uint64 // bytes
	faults   uint64
	switches [2]uint64 // voluntary, involuntary
}

func (r rusageOf) bytes() []byte {
	b := make([]byte, 144)
	for i, d := range []time.Duration{r.cpu.User, r.cpu.System} {
		binary.LittleEndian.PutUint64(b[16*i:], uint64(d/time.Second))
		binary.LittleEndian.PutUint64(b[16*i+8:], uint64(d%time.Second/time.Microsecond))
	}
	binary.LittleEndian.PutUint64(b[32:], r.maxRSS>>10)
	binary.LittleEndian.PutUint64(b[64:], r.faults)
	binary.LittleEndian.PutUint64(b[128:], r.switches[0])
	binary.LittleEndian.PutUint64(b[136:], r.switches[1])
	return b
}

// rusage is the structure for a process that has ended.
func rusage(cpu task.CPUTimes, maxRSS uint64) []byte {
	return rusageOf{cpu: cpu, maxRSS: maxRSS}.bytes()
}
