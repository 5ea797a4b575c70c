package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// Commands of fcntl that x/sys/unix has under no name.
const (
	fSetSig = 10
	fGetSig = 11
)

// ownerEx is F_GETOWN_EX, which C libraries use for F_GETOWN, and F_SETOWN_EX: struct f_owner_ex {type, pid}.
func ownerEx(t *task.Task, d *vfs.Description, cmd int, addr uint64) error {
	var b [8]byte
	if cmd == unix.F_GETOWN_EX {
		kind, id := d.Owner(t)
		le.PutUint32(b[:], uint32(kind))
		le.PutUint32(b[4:], uint32(id))
		return t.CopyOutUser(addr, b[:])
	}
	if err := t.CopyInUser(addr, b[:]); err != nil {
		return err
	}
	o, err := vfs.FindOwner(t, int(int32(le.Uint32(b[:]))), int(int32(le.Uint32(b[4:]))))
	if err == nil {
		d.SetOwner(o)
	}
	return err
}

// setAsync is O_ASYNC in F_SETFL: files without events ignore it.
func setAsync(d *vfs.Description, fd int, flags uint32) {
	if on := flags&unix.O_ASYNC != 0; on != (d.Flags()&unix.O_ASYNC != 0) {
		d.SetAsync(fd, on)
	}
}
