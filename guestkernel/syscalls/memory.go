package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"mmap":     sysMmap,
		"munmap":   func(t *task.Task, a Args) (uint64, error) { return 0, t.Space().Unmap(a[0], a[1]) },
		"mprotect": sysMprotect,
		"mremap":   sysMremap,
		"brk": func(t *task.Task, a Args) (uint64, error) {
			limit := t.Rlimit(unix.RLIMIT_DATA)
			if total, _ := MemoryTotals(); total > 0 {
				limit = min(limit, total) // as mayCommit
			}
			return t.Space().Brk(a[0], limit), nil
		},
		"madvise": sysMadvise,
		"msync":   sysMsync,
		"mincore": sysMincore,
	})
}

const protBits = unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC

func sysMmap(t *task.Task, a Args) (uint64, error) {
	length, prot, flags, offset := a[1], a[2], a.Int(3), a[5]
	if offset%mm.PageSize != 0 {
		return 0, unix.EINVAL
	}
	r := mm.Request{
		Addr: a[0], Len: length, Prot: mm.Prot(prot & protBits),
		Fixed: flags&(unix.MAP_FIXED|unix.MAP_FIXED_NOREPLACE) != 0, NoReplace: flags&unix.MAP_FIXED_NOREPLACE != 0,
		Low:      t.Creds().Has(unix.CAP_SYS_RAWIO),
		Populate: flags&unix.MAP_POPULATE != 0 && flags&unix.MAP_NONBLOCK == 0,
	}
	shared := false
	switch flags & unix.MAP_TYPE {
	case unix.MAP_PRIVATE:
	case unix.MAP_SHARED, unix.MAP_SHARED_VALIDATE:
		shared = true
		r.Flags |= mm.VMAShared
	default:
		return 0, unix.EINVAL
	}
	if flags&unix.MAP_GROWSDOWN != 0 {
		r.Flags |= mm.VMAGrowsDown
	}
	if flags&unix.MAP_LOCKED != 0 {
		if lockLimit(t) == 0 {
			return 0, unix.EPERM
		}
		r.Flags |= mm.VMALocked
		r.Populate = true
	}
	anonymous := flags&unix.MAP_ANONYMOUS != 0
	if !anonymous {
		d, err := get(t, a.Int(4))
		if err != nil {
			return 0, err
		}
		defer d.Unref()
		if prot&unix.PROT_EXEC != 0 && d.Path().Mount != nil && d.Path().Mount.Flags()&unix.MS_NOEXEC != 0 {
			return 0, unix.EPERM
		}
		if !d.Readable() || shared && prot&unix.PROT_WRITE != 0 && !d.Writable() {
			return 0, unix.EACCES
		}
		if shared && !d.Writable() {
			r.Flags |= mm.VMAReadOnly
		}
		if f, ok := d.File().(interface{ MayMapWritable() error }); ok && shared {
			if err := f.MayMapWritable(); err != nil {
				if prot&unix.PROT_WRITE != 0 {
					return 0, err
				}
				r.Flags |= mm.VMAReadOnly
			}
		}
		if length == 0 {
			return 0, unix.EINVAL
		}
		if r.Object, err = task.NewFileObject(t, d); err != nil {
			return 0, err
		}
		r.Offset = offset
		r.Name = d.Path().String()
		anonymous = r.Object == nil
	}
	if anonymous && shared {
		if length == 0 {
			return 0, unix.EINVAL
		}
		r.Object, r.Offset, r.Name = t.Kernel().Memory.NewShared(length), 0, "/dev/zero (deleted)"
		r.Flags &^= mm.VMAReadOnly
	}
	if err := mayCommit(length, prot, flags, shared, anonymous); err != nil {
		return 0, err
	}
	t.Space().SetLockLimit(lockLimit(t))
	return t.Space().Map(r)
}

// mayCommit refuses what can never be kept: more private writable memory at once than the machine has (proc_sys_vm(5), overcommit_memory 0).
func mayCommit(length, prot uint64, flags int, shared, anonymous bool) error {
	total, _ := MemoryTotals()
	if total > 0 && length > total && prot&unix.PROT_WRITE != 0 && flags&unix.MAP_NORESERVE == 0 && (anonymous || !shared) {
		return unix.ENOMEM
	}
	return nil
}

func sysMadvise(t *task.Task, a Args) (uint64, error) {
	if a.Int(2) == unix.MADV_REMOVE {
		if a[0]%mm.PageSize != 0 {
			return 0, unix.EINVAL
		}
		return 0, t.Space().Remove(t, a[0], a[1])
	}
	return 0, t.Space().Advise(a[0], a[1], a.Int(2))
}

func sysMprotect(t *task.Task, a Args) (uint64, error) {
	prot := a[2]
	if prot&^(protBits|unix.PROT_GROWSDOWN|unix.PROT_GROWSUP|8 /* PROT_SEM */) != 0 {
		return 0, unix.EINVAL
	}
	return 0, t.Space().Protect(a[0], a[1], mm.Prot(prot&protBits))
}

func sysMremap(t *task.Task, a Args) (uint64, error) {
	flags := a[3]
	if flags&^(unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED|unix.MREMAP_DONTUNMAP) != 0 {
		return 0, unix.EINVAL
	}
	return t.Space().Remap(a[0], a[1], a[2], flags&unix.MREMAP_MAYMOVE != 0, flags&unix.MREMAP_FIXED != 0, flags&unix.MREMAP_DONTUNMAP != 0, a[4])
}

// sysMsync has nothing to write back: files live in the page cache that is mapped.
func sysMsync(t *task.Task, a Args) (uint64, error) {
	flags := a[2]
	if a[0]%mm.PageSize != 0 || flags&^(unix.MS_ASYNC|unix.MS_INVALIDATE|unix.MS_SYNC) != 0 || flags&unix.MS_ASYNC != 0 && flags&unix.MS_SYNC != 0 {
		return 0, unix.EINVAL
	}
	if !t.Space().Covered(a[0], a[1]) {
		return 0, unix.ENOMEM
	}
	return 0, nil
}

func sysMincore(t *task.Task, a Args) (uint64, error) {
	const piece = 64 << 20 // bytes of address space looked at in one go
	if a[0]%mm.PageSize != 0 {
		return 0, unix.EINVAL
	}
	for addr, left, vec := a[0], a[1], a[2]; left > 0; {
		n := min(left, piece)
		pages, err := t.Space().Resident(addr, n)
		if err != nil {
			return 0, err
		}
		if err := t.CopyOutUser(vec, pages); err != nil {
			return 0, err
		}
		addr, left, vec = addr+n, left-n, vec+uint64(len(pages))
	}
	return 0, nil
}
