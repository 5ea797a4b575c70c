package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

func init() {
	register(map[string]Handler{
		"poll": poll, "ppoll": ppoll, "select": selectCall, "pselect6": pselect6,
	})
}

// watched is one file of a poll or select.
type watched struct {
	d     *vfs.Description // nil: ignored
	want  wait.Mask
	ready wait.Mask
	entry wait.Entry
}

// waitFor looks at all files and sleeps until one is ready or the deadline passes; without block it only looks. It answers how many are ready,
// or wait.ErrRestart when interrupted.
func waitFor(t *task.Task, files []watched, block bool, deadline time.Time) (int, error) {
	look := func() (n int) {
		for i := range files {
			f := &files[i]
			if f.d == nil {
				if f.ready != 0 {
					n++
				}
				continue
			}
			if f.ready = f.d.Readiness(f.want); f.ready != 0 {
				n++
			}
		}
		return n
	}
	if n := look(); n > 0 || !block {
		return n, nil
	}
	w := wait.NewWaiter()
	defer w.Release()
	for i := range files {
		f := &files[i]
		if f.d != nil && f.d.File() != nil {
			f.entry.Notify = func(wait.Mask) { w.Wake() }
			f.d.File().Register(&f.entry, f.want|wait.Err|wait.Hup)
			defer f.d.File().Unregister(&f.entry)
		}
	}
	for {
		if n := look(); n > 0 {
			return n, nil
		}
		switch t.Sleep(w.C, deadline) {
		case wait.Interrupted:
			return 0, wait.ErrRestart
		case wait.TimedOut:
			return look(), nil
		}
	}
}

func dropAll(files []watched) {
	for i := range files {
		if files[i].d != nil {
			files[i].d.Unref()
		}
	}
}

// pollFiles serves an array of struct pollfd {int fd; short events, revents}.
func pollFiles(t *task.Task, addr uint64, count uint32, block bool, deadline time.Time) (uint64, error) {
	if uint64(count) > t.Rlimit(unix.RLIMIT_NOFILE) {
		return 0, unix.EINVAL
	}
	var few [8 * 64]byte
	raw := few[:]
	if count > 64 {
		raw = make([]byte, 8*int(count))
	}
	raw = raw[:8*int(count)]
	if err := t.CopyInUser(addr, raw); err != nil {
		return 0, err
	}
	if n := look(t, raw); n > 0 || !block {
		return n, t.CopyOutUser(addr, raw)
	}
	files := make([]watched, count)
	defer func() { dropAll(files) }()
	for i := range files {
		fd := int(int32(le.Uint32(raw[8*i:])))
		if fd < 0 {
			continue
		}
		d, err := get(t, fd)
		if err != nil {
			files[i].ready = wait.Nval
			continue
		}
		files[i].d, files[i].want = d, wait.Mask(le.Uint16(raw[8*i+4:]))
	}
	n, err := waitFor(t, files, true, deadline)
	if err != nil {
		return 0, err
	}
	for i := range files {
		le.PutUint16(raw[8*i+6:], uint16(files[i].ready))
	}
	return uint64(n), t.CopyOutUser(addr, raw)
}

// look fills the revents of an array of struct pollfd without waiting, and answers how many are not 0.
func look(t *task.Task, raw []byte) (n uint64) {
	for b := raw; len(b) > 0; b = b[8:] {
		ready := wait.Mask(0)
		if fd := int(int32(le.Uint32(b))); fd >= 0 {
			if d, err := get(t, fd); err != nil {
				ready = wait.Nval
			} else {
				ready = d.Readiness(wait.Mask(le.Uint16(b[4:])))
				d.Unref()
			}
		}
		if ready != 0 {
			n++
		}
		le.PutUint16(b[6:], uint16(ready))
	}
	return n
}

func poll(t *task.Task, a Args) (uint64, error) {
	ms := a.Int(2)
	var deadline time.Time
	if ms > 0 {
		deadline = time.Now().Add(time.Duration(ms) * time.Millisecond)
	}
	return pollUntil(t, a[0], a.Uint(1), ms != 0, deadline)
}

// pollUntil restarts with what is left of the time.
func pollUntil(t *task.Task, addr uint64, count uint32, block bool, deadline time.Time) (uint64, error) {
	n, err := pollFiles(t, addr, count, block, deadline)
	if err == wait.ErrRestart {
		t.SetRestart(func() (uint64, error) { return pollUntil(t, addr, count, block, deadline) })
		err = wait.ErrRestartBlock
	}
	return n, err
}

// timeout is the optional time limit of a call, in user memory, that is written back with what was left of it.
type timeout struct {
	addr     uint64
	unit     int64 // ns that one of the second word is
	block    bool
	deadline time.Time
}

// maxTimeout keeps deadlines within time.Duration: 290 years.
const maxTimeout = 1<<63 - 1

func loadTimeout(t *task.Task, addr uint64, unit int64) (timeout, error) {
	to := timeout{addr: addr, unit: unit, block: true}
	if addr == 0 {
		return to, nil
	}
	var b [16]byte
	if err := t.CopyInUser(addr, b[:]); err != nil {
		return to, err
	}
	sec, sub := int64(le.Uint64(b[:])), int64(le.Uint64(b[8:]))
	if unit != 1 { // timeval: microseconds may be more than a second
		if sec < 0 || sub < 0 {
			return to, unix.EINVAL
		}
		sec, sub = sec+sub/1e6, sub%1e6*unit
	} else if sec < 0 || sub < 0 || sub >= 1e9 {
		return to, unix.EINVAL
	}
	if sec == 0 && sub == 0 {
		to.block = false
		return to, nil
	}
	if sec < maxTimeout/int64(time.Second)-1 {
		to.deadline = time.Now().Add(time.Duration(sec)*time.Second + time.Duration(sub))
	}
	return to, nil
}

// store writes back what is left; a failure does not matter, as in Linux.
func (to timeout) store(t *task.Task) {
	if to.addr == 0 || to.block && to.deadline.IsZero() {
		return
	}
	left := time.Duration(0)
	if to.block {
		left = max(0, time.Until(to.deadline))
	}
	var b [16]byte
	le.PutUint64(b[:], uint64(left/time.Second))
	le.PutUint64(b[8:], uint64(int64(left%time.Second)/to.unit))
	_ = t.CopyOutUser(to.addr, b[:])
}

// suspendMask puts the signal mask at addr (0: none) in force for the call.
func suspendMask(t *task.Task, addr, size uint64) error {
	if addr == 0 {
		return nil
	}
	if size != 8 {
		return unix.EINVAL
	}
	var b [8]byte
	if err := t.CopyInUser(addr, b[:]); err != nil {
		return err
	}
	t.SuspendMask(task.SigSet(le.Uint64(b[:])))
	return nil
}

func ppoll(t *task.Task, a Args) (uint64, error) {
	to, err := loadTimeout(t, a[2], 1)
	if err != nil {
		return 0, err
	}
	if err := suspendMask(t, a[3], a[4]); err != nil {
		return 0, err
	}
	n, err := pollFiles(t, a[0], a.Uint(1), to.block, to.deadline)
	if err == wait.ErrRestart {
		err = wait.ErrRestartNoHandler
	}
	to.store(t)
	return n, err
}

func selectCall(t *task.Task, a Args) (uint64, error) {
	to, err := loadTimeout(t, a[4], 1000)
	if err != nil {
		return 0, err
	}
	n, err := selectFiles(t, a, to)
	to.store(t)
	return n, err
}

// pselect6 has the mask and its size in a structure, because there are only six registers.
func pselect6(t *task.Task, a Args) (uint64, error) {
	to, err := loadTimeout(t, a[4], 1)
	if err != nil {
		return 0, err
	}
	if a[5] != 0 {
		var b [16]byte
		if err := t.CopyInUser(a[5], b[:]); err != nil {
			return 0, err
		}
		if err := suspendMask(t, le.Uint64(b[:]), le.Uint64(b[8:])); err != nil {
			return 0, err
		}
	}
	n, err := selectFiles(t, a, to)
	to.store(t)
	return n, err
}

// What each set of select(2) stands for.
var selectMasks = [3]wait.Mask{
	wait.RdNorm | wait.RdBand | wait.In | wait.Hup | wait.Err,
	wait.WrBand | wait.WrNorm | wait.Out | wait.Err,
	wait.Pri,
}

func selectFiles(t *task.Task, a Args, to timeout) (uint64, error) {
	n := a.Int(0)
	if n < 0 {
		return 0, unix.EINVAL
	}
	n = min(n, vfs.MaxDescriptors)
	size := (n + 63) / 64 * 8
	if limit := t.FDs().Size(); n > limit { // no descriptor is up there
		n = limit
	}
	var in [3][]byte
	for i := range in {
		if a[1+i] != 0 {
			in[i] = make([]byte, size)
			if err := t.CopyInUser(a[1+i], in[i]); err != nil {
				return 0, err
			}
		}
	}
	has := func(set []byte, fd int) bool { return set != nil && set[fd/8]>>(fd%8)&1 != 0 }
	var files []watched
	var fds []int
	defer func() { dropAll(files) }()
	for fd := range n {
		var want wait.Mask
		for i := range in {
			if has(in[i], fd) {
				want |= selectMasks[i]
			}
		}
		if want == 0 {
			continue
		}
		d, err := get(t, fd)
		if err != nil {
			return 0, err
		}
		files = append(files, watched{d: d, want: want})
		fds = append(fds, fd)
	}
	// A file that is ready only for a set it is not in does not end the wait: want has just the events of its sets, but errors
	// are reported always and count as readable and writable.
	_, err := waitFor(t, files, to.block, to.deadline)
	if err != nil {
		return 0, wait.ErrRestartNoHandler
	}
	count := uint64(0)
	var out [3][]byte
	for i := range in {
		if in[i] == nil {
			continue
		}
		out[i] = make([]byte, size)
		for j, fd := range fds {
			if has(in[i], fd) && files[j].ready&selectMasks[i] != 0 {
				out[i][fd/8] |= 1 << (fd % 8)
				count++
			}
		}
	}
	for i := range out {
		if out[i] != nil {
			if err := t.CopyOutUser(a[1+i], out[i]); err != nil {
				return 0, err
			}
		}
	}
	return count, nil
}
