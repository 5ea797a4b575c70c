package ipc

import (
	"fmt"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
)

// Flags of shmget(2) and shmat(2), modes and commands (linux/shm.h).
const (
	ShmHugeTLB  = 0o4000
	ShmReadOnly = 0o10000
	ShmRound    = 0o20000
	ShmRemap    = 0o40000
	ShmExec     = 0o100000

	shmDest   = 0o1000 // SHM_DEST: goes with its last attachment
	shmLocked = 0o2000 // SHM_LOCKED

	CmdShmLock    = 11
	CmdShmUnlock  = 12
	CmdShmStat    = 13
	CmdShmInfo    = 14
	CmdShmStatAny = 15
)

// segment is a System V shared memory segment: an object that address spaces map. Each VMA counts as an attachment, as on Linux, so
// fork, exec, exit and munmap need not know of segments.
type segment struct {
	Perm
	ns   *Namespace
	name string // for /proc/PID/maps
	size uint64
	mem  mm.Object // holds the frames; the segment itself is one of its mappings until it is freed

	// Guarded by ns.shm.
	attached, detached, changed int64
	creator, last               int // process numbers
	attachments                 int
}

// ShmStat is a struct shmid64_ds.
type ShmStat struct {
	Perm
	Size                        uint64
	Attached, Detached, Changed int64
	Creator, Last               int
	Attachments                 int
	Resident                    uint64 // bytes
}

func pages(bytes uint64) uint64 {
	return bytes>>mm.PageShift + (bytes&(mm.PageSize-1)+mm.PageSize-1)>>mm.PageShift
}

// ShmGet is shmget(2). Errors: EINVAL, EACCES, EEXIST, ENOENT, ENOSPC, ENOMEM (huge pages: there are none).
func (n *Namespace) ShmGet(c Caller, key int32, size uint64, flags int) (id int, err error) {
	l := n.Limits()
	fits := func(s *segment) error {
		if s.size < size {
			return unix.EINVAL
		}
		return nil
	}
	n.shm.Lock()
	defer n.shm.Unlock()
	return n.shm.find(c.Creds(), key, flags, l.ShmMni, fits, func() (*segment, error) {
		switch {
		case size < shmMin || size > l.ShmMax:
			return nil, unix.EINVAL
		case pages(size) > l.ShmAll-min(n.shm.pages, l.ShmAll), uint64(len(n.shm.objects)) >= l.ShmMni:
			return nil, unix.ENOSPC
		case flags&ShmHugeTLB != 0, size > mm.UserTop:
			return nil, unix.ENOMEM
		}
		s := &segment{
			Perm: newPerm(c.Creds(), key, uint32(flags)), ns: n, name: fmt.Sprintf("/SYSV%08x (deleted)", uint32(key)), size: size,
			mem: n.memory.NewShared(size), changed: now(), creator: c.PID(),
		}
		s.mem.Attach(nil) // the frames stay while nobody maps them
		n.shm.pages += pages(size)
		return s, nil
	})
}

// Page implements mm.Object.
func (s *segment) Page(off uint64, write bool) (uint64, error) { return s.mem.Page(off, write) }

// Identity implements mm.Object.
func (s *segment) Identity() any { return s.mem.Identity() }

// Punch implements mm.Puncher.
func (s *segment) Punch(caller any, off, length uint64) error {
	return s.mem.(mm.Puncher).Punch(caller, off, length)
}

// Attach implements mm.Object: a mapping was made, or split.
func (s *segment) Attach(space *mm.Space) {
	s.mem.Attach(space)
	s.ns.shm.Lock()
	defer s.ns.shm.Unlock()
	s.attachments++
	s.attached = now()
	s.touchedLocked(space)
}

// Detach implements mm.Object: the last one frees a segment that was removed.
func (s *segment) Detach(space *mm.Space) {
	s.mem.Detach(space)
	s.ns.shm.Lock()
	s.attachments--
	s.detached = now()
	s.touchedLocked(space)
	unused := s.Mode&shmDest != 0 && s.attachments == 0
	if unused {
		s.ns.forgetLocked(s)
	}
	s.ns.shm.Unlock()
	if unused {
		s.free()
	}
}

// touchedLocked notes the process whose address space it is.
func (s *segment) touchedLocked(space *mm.Space) {
	if pid := space.Owner(); pid != 0 {
		s.last = pid
	}
}

func (s *segment) free() { s.mem.Detach(nil) }

// forgetLocked takes a segment out of the tables.
func (n *Namespace) forgetLocked(s *segment) {
	n.shm.remove(s)
	n.shm.pages -= pages(s.size)
}

// doomLocked is do_shm_rmid: the segment goes now, which the caller does with free, or with its last attachment.
func (n *Namespace) doomLocked(s *segment) (unused bool) {
	if s.attachments > 0 {
		s.Mode |= shmDest
		n.shm.forgetKey(s)
		return false
	}
	n.forgetLocked(s)
	return true
}

// ShmAttach is shmat(2): it maps a segment into the space and answers where. Errors: EINVAL, EACCES, ENOMEM.
func (n *Namespace) ShmAttach(c Caller, space *mm.Space, id int, addr uint64, flags int) (uint64, error) {
	if addr%mm.PageSize != 0 {
		if flags&ShmRound == 0 {
			return 0, unix.EINVAL
		}
		addr &^= mm.PageSize - 1
	}
	if addr == 0 && flags&ShmRemap != 0 {
		return 0, unix.EINVAL
	}
	want, prot, vma := uint32(0o666), mm.Read|mm.Write, mm.VMAShared
	if flags&ShmReadOnly != 0 {
		want, prot, vma = 0o444, mm.Read, vma|mm.VMAReadOnly
	}
	if flags&ShmExec != 0 {
		want, prot = want|0o111, prot|mm.Exec
	}
	n.shm.Lock()
	s, err := n.shm.get(id)
	if err == nil {
		err = s.allows(c.Creds(), want)
	}
	if err == nil {
		s.attachments++ // so that it does not go before it is mapped
	}
	n.shm.Unlock()
	if err != nil {
		return 0, err
	}
	at, err := space.Map(mm.Request{
		Addr: addr, Len: s.size, Prot: prot, Flags: vma, Fixed: addr != 0, NoReplace: flags&ShmRemap == 0, Object: s, Name: s.name,
		Low: c.Creds().Has(unix.CAP_SYS_RAWIO),
	})
	if err == unix.EEXIST {
		err = unix.EINVAL
	}
	n.shm.Lock()
	s.attachments--
	unused := s.Mode&shmDest != 0 && s.attachments == 0
	if unused {
		n.forgetLocked(s)
	}
	n.shm.Unlock()
	if unused {
		s.free()
	}
	return at, err
}

// Detach is shmdt(2): it unmaps the segment that was attached at addr. The error is EINVAL.
func Detach(space *mm.Space, addr uint64) error {
	if addr%mm.PageSize != 0 {
		return unix.EINVAL
	}
	return space.UnmapObject(addr, func(o mm.Object) (size uint64, ok bool) {
		s, ok := o.(*segment)
		if !ok {
			return 0, false
		}
		return s.size, true
	})
}

// ShmRemove is shmctl(IPC_RMID). Errors: EINVAL, EPERM.
func (n *Namespace) ShmRemove(c Caller, id int) error {
	n.shm.Lock()
	s, err := n.shm.get(id)
	if err == nil {
		err = s.owned(c.Creds())
	}
	unused := err == nil && n.doomLocked(s)
	n.shm.Unlock()
	if unused {
		s.free()
	}
	return err
}

// ShmSet is shmctl(IPC_SET). Errors: EINVAL, EPERM.
func (n *Namespace) ShmSet(c Caller, id int, ch Change) error {
	n.shm.Lock()
	defer n.shm.Unlock()
	s, err := n.shm.get(id)
	if err == nil {
		err = s.owned(c.Creds())
	}
	if err == nil {
		s.set(ch)
		s.changed = now()
	}
	return err
}

// ShmLock is shmctl(SHM_LOCK) and SHM_UNLOCK: memory is never swapped out, so only the mode shows it. Errors: EINVAL, EPERM, ENOMEM.
func (n *Namespace) ShmLock(c Caller, id int, on bool) error {
	n.shm.Lock()
	defer n.shm.Unlock()
	s, err := n.shm.get(id)
	if err != nil {
		return err
	}
	if cr := c.Creds(); !cr.Has(unix.CAP_IPC_LOCK) {
		limit := c.Rlimit(unix.RLIMIT_MEMLOCK)
		switch {
		case cr.EUID != s.UID && cr.EUID != s.CUID, on && limit == 0:
			return unix.EPERM
		case on && s.size > limit:
			return unix.ENOMEM
		}
	}
	s.Mode &^= shmLocked
	if on {
		s.Mode |= shmLocked
	}
	return nil
}

func (s *segment) stat() ShmStat {
	st := ShmStat{
		Perm: s.Perm, Size: s.size, Attached: s.attached, Detached: s.detached, Changed: s.changed,
		Creator: s.creator, Last: s.last, Attachments: s.attachments,
	}
	if r, ok := s.mem.(interface{ Resident() uint64 }); ok {
		st.Resident = r.Resident()
	}
	return st
}

// ShmStat is shmctl(IPC_STAT), and SHM_STAT and SHM_STAT_ANY with byPlace; anyone says that no permission is asked for. Errors: EINVAL, EACCES.
func (n *Namespace) ShmStat(c Caller, id int, byPlace, anyone bool) (ShmStat, error) {
	n.shm.Lock()
	defer n.shm.Unlock()
	s, err := n.shm.get(id)
	if byPlace {
		s, err = n.shm.byPlace(id)
	}
	if err == nil && !anyone {
		err = s.allows(c.Creds(), 0o444)
	}
	if err != nil {
		return ShmStat{}, err
	}
	return s.stat(), nil
}

// ShmUsage is how much there is: segments, their pages, those in memory, and the highest used place.
func (n *Namespace) ShmUsage() (segments int, all, resident uint64, highest int) {
	n.shm.Lock()
	defer n.shm.Unlock()
	for _, s := range n.shm.objects {
		resident += s.stat().Resident >> mm.PageShift
	}
	return len(n.shm.objects), n.shm.pages, resident, n.shm.highest()
}

// ShmAll lists all segments by place.
func (n *Namespace) ShmAll() (all []ShmStat) {
	n.shm.Lock()
	defer n.shm.Unlock()
	for _, at := range n.shm.places() {
		all = append(all, n.shm.objects[at].stat())
	}
	return all
}
