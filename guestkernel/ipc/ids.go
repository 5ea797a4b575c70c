package ipc

import (
	"slices"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// Private is IPC_PRIVATE.
const Private = 0

// Flags of the get calls, and the commands that all three kinds have (linux/ipc.h).
const (
	Create    = 0o1000 // IPC_CREAT
	Exclusive = 0o2000 // IPC_EXCL
	NoWait    = 0o4000 // IPC_NOWAIT

	CmdRemove = 0 // IPC_RMID
	CmdSet    = 1 // IPC_SET
	CmdStat   = 2 // IPC_STAT
	CmdInfo   = 3 // IPC_INFO
)

// Perm is a struct ipc64_perm.
type Perm struct {
	Key                  int32
	ID                   int
	UID, GID, CUID, CGID uint32
	Mode                 uint32
	Seq                  uint16
}

func newPerm(c *vfs.Creds, key int32, mode uint32) Perm {
	return Perm{Key: key, UID: c.EUID, GID: c.EGID, CUID: c.EUID, CGID: c.EGID, Mode: mode & 0o777}
}

// allows mirrors ipcperms: want is a set of rwx bits in any of the three places. The error is EACCES.
func (p *Perm) allows(c *vfs.Creds, want uint32) error {
	want = (want>>6 | want>>3 | want) & 7
	granted := p.Mode
	switch {
	case c.EUID == p.CUID || c.EUID == p.UID:
		granted >>= 6
	case c.InGroup(p.CGID) || c.InGroup(p.GID):
		granted >>= 3
	}
	if want&^granted != 0 && !c.Has(unix.CAP_IPC_OWNER) {
		return unix.EACCES
	}
	return nil
}

// owned says whether c may change or remove the object. The error is EPERM.
func (p *Perm) owned(c *vfs.Creds) error {
	if c.EUID == p.CUID || c.EUID == p.UID || c.Has(unix.CAP_SYS_ADMIN) {
		return nil
	}
	return unix.EPERM
}

// Change is what IPC_SET takes of a struct ipc64_perm.
type Change struct{ UID, GID, Mode uint32 }

func (p *Perm) set(c Change) {
	p.UID, p.GID = c.UID, c.GID
	p.Mode = p.Mode&^0o777 | c.Mode&0o777
}

// perm makes whatever embeds a Perm an object.
func (p *Perm) perm() *Perm { return p }

// indexBits is where an id's sequence number begins (IPCMNI_SHIFT): the low bits are the place in the table.
const (
	indexBits = 15
	maxIDs    = 1 << indexBits
	minCycle  = 64 // places are used again after at least so many (ipc_min_cycle)
)

// ids is a table of objects by id and by key. The lock beside it guards it.
type ids[T interface {
	comparable
	perm() *Perm
}] struct {
	objects map[int]T // by place
	keys    map[int32]T
	last    int // place given out last
	seq     int
}

// add enters an object that has no id yet.
func (t *ids[T]) add(o T) {
	if t.objects == nil {
		t.objects, t.keys, t.last = make(map[int]T), make(map[int32]T), -1
	}
	cycle := min(max(len(t.objects)*3/2, minCycle), maxIDs)
	at, taken := t.last, true
	for range cycle + 1 {
		if at++; at >= cycle {
			at = 0
		}
		if _, taken = t.objects[at]; !taken {
			break
		}
	}
	for ; taken; _, taken = t.objects[at] { // a table that has shrunk: beyond the cycle there is room
		at++
	}
	if at <= t.last {
		t.seq = (t.seq + 1) & 0xffff
	}
	t.last = at
	p := o.perm()
	p.ID, p.Seq = t.seq<<indexBits|at, uint16(t.seq)
	t.objects[at] = o
	if p.Key != Private {
		t.keys[p.Key] = o
	}
}

// get answers the object with an id. The error is EINVAL.
func (t *ids[T]) get(id int) (o T, err error) {
	if o, ok := t.objects[id&(maxIDs-1)]; ok && id >= 0 && o.perm().ID == id {
		return o, nil
	}
	return o, unix.EINVAL
}

// byPlace answers the object that the low bits of id stand for, as the *_STAT commands want it. The error is EINVAL.
func (t *ids[T]) byPlace(id int) (o T, err error) {
	if o, ok := t.objects[id&(maxIDs-1)]; ok && id >= 0 {
		return o, nil
	}
	return o, unix.EINVAL
}

// find answers get's object for a key, or makes one: make is called when flags ask for it, exists when there is one already.
func (t *ids[T]) find(c *vfs.Creds, key int32, flags int, limit uint64, fits func(T) error, make func() (T, error)) (id int, err error) {
	o, there := t.keys[key]
	switch {
	case key != Private && there && flags&(Create|Exclusive) == Create|Exclusive:
		return 0, unix.EEXIST
	case key != Private && there:
		if err := fits(o); err != nil {
			return 0, err
		}
		if err := o.perm().allows(c, uint32(flags)); err != nil {
			return 0, err
		}
		return o.perm().ID, nil
	case key != Private && flags&Create == 0:
		return 0, unix.ENOENT
	}
	if o, err = make(); err != nil {
		return 0, err
	}
	if uint64(len(t.objects)) >= min(limit, maxIDs) {
		return 0, unix.ENOSPC
	}
	t.add(o)
	return o.perm().ID, nil
}

// forgetKey makes an object unreachable by its key.
func (t *ids[T]) forgetKey(o T) {
	p := o.perm()
	if p.Key != Private && t.keys[p.Key] == o {
		delete(t.keys, p.Key)
	}
	p.Key = Private
}

// remove takes an object out of the table.
func (t *ids[T]) remove(o T) {
	t.forgetKey(o)
	delete(t.objects, o.perm().ID&(maxIDs-1))
}

// places lists the used places, ascending.
func (t *ids[T]) places() []int {
	all := make([]int, 0, len(t.objects))
	for at := range t.objects {
		all = append(all, at)
	}
	slices.Sort(all)
	return all
}

// highest is the highest used place, 0 when there is none, as IPC_INFO answers it.
func (t *ids[T]) highest() int {
	most := 0
	for at := range t.objects {
		most = max(most, at)
	}
	return most
}
