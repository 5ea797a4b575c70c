package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"process_vm_readv":  func(t *task.Task, a Args) (uint64, error) { return processVM(t, a, false) },
		"process_vm_writev": func(t *task.Task, a Args) (uint64, error) { return processVM(t, a, true) },
		"process_madvise":   sysProcessMadvise,
		"personality":       sysPersonality,
		"kcmp":              sysKcmp,
	})
}

// ranges reads an iovec array. Errors: EINVAL, EFAULT.
func ranges(t *task.Task, addr, count uint64) ([]mm.Range, error) {
	if count > 1024 {
		return nil, unix.EINVAL
	}
	w, err := getUint64s(t, addr, int(2*count))
	if err != nil {
		return nil, err
	}
	list := make([]mm.Range, 0, count)
	for i := 0; i < len(w); i += 2 {
		if int64(w[i+1]) < 0 {
			return nil, unix.EINVAL
		}
		list = append(list, mm.Range{Addr: w[i], Len: int(w[i+1])})
	}
	return list, nil
}

// processVM copies between two address spaces, as far as both have memory.
func processVM(t *task.Task, a Args, write bool) (uint64, error) {
	const piece = 64 << 10 // bytes copied in one go
	if a[5] != 0 {
		return 0, unix.EINVAL
	}
	local, err := ranges(t, a[1], a[2])
	if err != nil {
		return 0, err
	}
	remote, err := ranges(t, a[3], a[4])
	if err != nil {
		return 0, err
	}
	o := t.Kernel().Find(t.Global(a.Int(0)))
	if o == nil || a.Int(0) <= 0 {
		return 0, unix.ESRCH
	}
	v := o.View()
	switch {
	case v == nil:
		return 0, unix.ESRCH
	case !t.MayTrace(o):
		return 0, unix.EPERM
	}
	from, to := v.Space, t.Space()
	src, dst := remote, local
	if write {
		from, to = to, from
		src, dst = dst, src
	}
	done := uint64(0)
	buf := make([]byte, 0, piece)
	for len(src) > 0 && len(dst) > 0 {
		n := min(src[0].Len, dst[0].Len, piece)
		if n > 0 {
			got, err := from.CopyIn(src[0].Addr, buf[:n])
			put, err2 := to.CopyOut(dst[0].Addr, buf[:got])
			done += uint64(put)
			if err == nil {
				err = err2
			}
			if err != nil {
				if done > 0 {
					return done, nil
				}
				return 0, unix.EFAULT
			}
		}
		for _, list := range []*[]mm.Range{&src, &dst} {
			r := &(*list)[0]
			r.Addr += uint64(n)
			if r.Len -= n; r.Len == 0 {
				*list = (*list)[1:]
			}
		}
	}
	return done, nil
}

// sysProcessMadvise advises another process's memory. Errors: EINVAL, EBADF, ESRCH, EPERM, EFAULT, and madvise's.
func sysProcessMadvise(t *task.Task, a Args) (uint64, error) {
	if a.Uint(4) != 0 {
		return 0, unix.EINVAL
	}
	list, err := ranges(t, a[1], a[2])
	if err != nil {
		return 0, err
	}
	p, d, err := getPIDFD(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	o := p.Task()
	var v *task.View
	if o != nil {
		v = o.View()
	}
	if v == nil {
		return 0, unix.ESRCH
	}
	advice := a.Int(3)
	switch {
	case v.Space == t.Space():
	case advice != unix.MADV_COLD && advice != unix.MADV_PAGEOUT && advice != unix.MADV_WILLNEED && advice != unix.MADV_COLLAPSE:
		return 0, unix.EINVAL
	case !t.MayTrace(o), !t.Creds().Effective.Has(unix.CAP_SYS_NICE):
		return 0, unix.EPERM
	}
	done := uint64(0)
	for _, r := range list {
		if err := v.Space.Advise(r.Addr, uint64(r.Len), advice); err != nil {
			if done > 0 {
				break
			}
			return 0, err
		}
		done += uint64(r.Len)
	}
	return done, nil
}

// sysPersonality: of what a personality asks for, ADDR_NO_RANDOMIZE is done at execve; the rest is kept and told.
func sysPersonality(t *task.Task, a Args) (uint64, error) {
	old := t.Personality()
	if p := a.Uint(0); p != ^uint32(0) {
		t.SetPersonality(p)
	}
	return uint64(old), nil
}

// sysKcmp says whether two tasks share something: 0, or an order. Errors: EINVAL, ESRCH, EPERM, EBADF.
func sysKcmp(t *task.Task, a Args) (uint64, error) {
	const file, vm, files, fs, sighand, io = 0, 1, 2, 3, 4, 5
	var objects [2]any
	kind := a.Int(2)
	var tasks [2]*task.Task
	for i := range tasks {
		if tasks[i] = t.Kernel().Find(t.Global(a.Int(i))); tasks[i] == nil || a.Int(i) <= 0 {
			return 0, unix.ESRCH
		}
	}
	for i, o := range tasks {
		if !t.MayTrace(o) {
			return 0, unix.EPERM
		}
		v := o.View()
		if v == nil {
			return 0, unix.ESRCH
		}
		switch kind {
		case file:
			d, err := v.FDs.Get(int(int32(a[3+i])))
			if err != nil {
				return 0, unix.EBADF
			}
			objects[i] = d
			d.Unref()
		case vm:
			objects[i] = v.Space
		case files:
			objects[i] = v.FDs
		case fs:
			objects[i] = v.FS
		case sighand:
			objects[i] = o.Group().SignalActions()
		case io:
			objects[i] = nil // nobody has an I/O context
		default:
			return 0, unix.EINVAL
		}
	}
	return task.Order(objects[0], objects[1]), nil
}
