package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// Kinds of owners in struct f_owner_ex {type, pid}. A thread is kept as its process would be.
const (
	ownerTID = iota
	ownerPID
	ownerGroup
)

// ownerEx is F_GETOWN_EX, which C libraries use for F_GETOWN, and F_SETOWN_EX.
func ownerEx(t *task.Task, d *vfs.Description, cmd int, addr uint64) error {
	var b [8]byte
	if cmd == unix.F_GETOWN_EX {
		kind, pid := ownerPID, d.Owner()
		if pid < 0 {
			kind, pid = ownerGroup, -pid
		}
		le.PutUint32(b[:], uint32(kind))
		le.PutUint32(b[4:], uint32(pid))
		return t.CopyOutUser(addr, b[:])
	}
	if err := t.CopyInUser(addr, b[:]); err != nil {
		return err
	}
	pid := int64(int32(le.Uint32(b[4:])))
	switch le.Uint32(b[:]) {
	case ownerTID, ownerPID:
	case ownerGroup:
		pid = -pid
	default:
		return unix.EINVAL
	}
	d.SetOwner(pid)
	return nil
}
