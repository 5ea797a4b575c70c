package task

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// CodeSIGIO is si_code for a signal other than SIGIO that has codes of its own.
const CodeSIGIO = -5

// bands are si_band by si_code, POLL_IN first (fs/fcntl.c, band_table).
var bands = [...]uint64{0x41, 0x304, 0x441, 0x8, 0x82, 0x18}

// ownCodes are the signals whose si_code means something else.
var ownCodes = Set(unix.SIGILL, unix.SIGFPE, unix.SIGSEGV, unix.SIGBUS, unix.SIGTRAP, unix.SIGCHLD, unix.SIGSYS)

// fileOwner hears of the events of a file (F_SETOWN). It keeps who it is, not the number, which others may get later.
type fileOwner struct {
	k         *Kernel
	task      *Task // F_OWNER_TID
	group     *Group
	pgroup    *ProcessGroup
	uid, euid uint32 // of who set it: the signals are sent with these rights
}

// FileOwner answers who t's number is, for [vfs.FindOwner]. The error is ESRCH.
func (t *Task) FileOwner(kind, id int) (vfs.Owner, error) {
	k, creds := t.k, t.Creds()
	o := &fileOwner{k: k, uid: creds.UID, euid: creds.EUID}
	k.mu.Lock()
	defer k.mu.Unlock()
	n := t.group.pidns.global(id)
	switch kind {
	case vfs.OwnerTID:
		o.task = k.tasks[n]
	case vfs.OwnerPID:
		if o.group = k.groups[n]; o.group == nil && k.tasks[n] != nil {
			o.group = k.tasks[n].group
		}
	case vfs.OwnerGroup:
		o.pgroup = k.pgroups[n]
	}
	if o.task == nil && o.group == nil && o.pgroup == nil {
		return nil, unix.ESRCH
	}
	return o, nil
}

// Number implements vfs.Owner.
func (o *fileOwner) Number(c vfs.Caller) (kind, id int) {
	o.k.mu.Lock()
	switch {
	case o.task != nil:
		kind = vfs.OwnerTID
		if o.k.tasks[o.task.tid] == o.task {
			id = o.task.tid
		}
	case o.group != nil:
		kind = vfs.OwnerPID
		if o.k.groups[o.group.pid] == o.group {
			id = o.group.pid
		}
	default:
		kind = vfs.OwnerGroup
		if o.k.pgroups[o.pgroup.id] == o.pgroup {
			id = o.pgroup.id
		}
	}
	o.k.mu.Unlock()
	return kind, vfs.LocalID(c, id)
}

// Event implements vfs.Owner. Mirrors send_sigio.
func (o *fileOwner) Event(signal int, reason, fd int32) {
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	switch {
	case o.task != nil:
		o.sendLocked(o.task.group, o.task, signal, reason, fd)
	case o.group != nil:
		o.sendLocked(o.group, nil, signal, reason, fd)
	default:
		for g := range o.pgroup.members {
			o.sendLocked(g, nil, signal, reason, fd)
		}
	}
}

func (o *fileOwner) sendLocked(g *Group, t *Task, signal int, reason, fd int32) {
	if g.leader == nil || g.zombie {
		return
	}
	they := g.leader.Creds()
	if o.euid != 0 && o.euid != they.SUID && o.euid != they.UID && o.uid != they.SUID && o.uid != they.UID {
		return
	}
	if signal != 0 {
		code := int(reason)
		if ownCodes.Has(signal) {
			code = CodeSIGIO
		}
		i := newInfo(signal, code)
		i.put64(16, bands[reason-1])
		i.put32(24, uint32(fd))
		if o.k.sendLocked(g, t, i) == nil {
			return
		}
	}
	o.k.sendLocked(g, t, kernelInfo(int(unix.SIGIO)))
}
