package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/ipc"
	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"msgget": func(t *task.Task, a Args) (uint64, error) { return number(t.IPC().MsgGet(t, int32(a[0]), a.Int(1))) },
		"msgsnd": sysMsgsnd, "msgrcv": sysMsgrcv, "msgctl": sysMsgctl,
		"semget": func(t *task.Task, a Args) (uint64, error) {
			return number(t.IPC().SemGet(t, int32(a[0]), a.Int(1), a.Int(2)))
		},
		"semop":      func(t *task.Task, a Args) (uint64, error) { return semop(t, a, 0) },
		"semtimedop": func(t *task.Task, a Args) (uint64, error) { return semop(t, a, a[3]) },
		"semctl":     sysSemctl,
		"shmget": func(t *task.Task, a Args) (uint64, error) {
			return number(t.IPC().ShmGet(t, int32(a[0]), a[1], a.Int(2)))
		},
		"shmat": func(t *task.Task, a Args) (uint64, error) {
			return t.IPC().ShmAttach(t, t.Space(), a.Int(0), a[1], a.Int(2))
		},
		"shmdt":  func(t *task.Task, a Args) (uint64, error) { return 0, ipc.Detach(t.Space(), a[0]) },
		"shmctl": sysShmctl,
	})
}

func number(n int, err error) (uint64, error) { return uint64(n), err }

// layout fills a structure of the ABI.
type layout []byte

func (l layout) put32(off int, v uint32) { le.PutUint32(l[off:], v) }
func (l layout) put64(off int, vs ...uint64) {
	for i, v := range vs {
		le.PutUint64(l[off+8*i:], v)
	}
}

// perm fills a struct ipc64_perm, 48 bytes, the same on both architectures.
func (l layout) perm(p ipc.Perm) {
	for i, v := range []uint32{uint32(p.Key), p.UID, p.GID, p.CUID, p.CGID, p.Mode} {
		l.put32(4*i, v)
	}
	le.PutUint16(l[24:], p.Seq)
}

// ints makes a structure of C ints.
func ints(size int, vs ...int) layout {
	l := make(layout, size)
	for i, v := range vs {
		l.put32(4*i, uint32(v))
	}
	return l
}

// change reads what IPC_SET takes of a struct *id_ds of size bytes. Errors: EFAULT, EINVAL.
func change(t *task.Task, addr uint64, size int) (c ipc.Change, b []byte, err error) {
	b = make([]byte, size)
	if err := t.CopyInUser(addr, b); err != nil {
		return c, nil, err
	}
	c = ipc.Change{UID: le.Uint32(b[4:]), GID: le.Uint32(b[8:]), Mode: le.Uint32(b[20:])}
	if c.UID == ^uint32(0) || c.GID == ^uint32(0) {
		return c, nil, unix.EINVAL
	}
	return c, b, nil
}

func sysMsgsnd(t *task.Task, a Args) (uint64, error) {
	if a.Int64(2) < 0 || a[2] > t.IPC().Limits().MsgMax || a.Int(0) < 0 {
		return 0, unix.EINVAL
	}
	b := make([]byte, 8+a[2])
	if err := t.CopyInUser(a[1], b[:8]); err != nil {
		return 0, err
	}
	kind := int64(le.Uint64(b))
	if kind < 1 {
		return 0, unix.EINVAL
	}
	if err := t.CopyInUser(a[1]+8, b[8:]); err != nil {
		return 0, err
	}
	return 0, t.IPC().MsgSend(t, a.Int(0), kind, b[8:], a.Int(3))
}

func sysMsgrcv(t *task.Task, a Args) (uint64, error) {
	if a.Int64(2) < 0 || a.Int(0) < 0 {
		return 0, unix.EINVAL
	}
	kind, text, err := t.IPC().MsgReceive(t, a.Int(0), a[2], a.Int64(3), a.Int(4))
	if err != nil {
		return 0, err
	}
	if err := putUint64s(t, a[1], uint64(kind)); err != nil {
		return 0, err
	}
	return uint64(len(text)), t.CopyOutUser(a[1]+8, text)
}

func sysMsgctl(t *task.Task, a Args) (uint64, error) {
	n, id, cmd := t.IPC(), a.Int(0), a.Int(1)
	if id < 0 || cmd < 0 {
		return 0, unix.EINVAL
	}
	switch cmd {
	case ipc.CmdInfo, ipc.CmdMsgInfo:
		l := n.Limits()
		queues, messages, bytes, highest := n.MsgUsage()
		pool, maps, tql := int(l.MsgMni*l.MsgMnb/1024), int(l.MsgMnb), int(l.MsgMnb)
		if cmd == ipc.CmdMsgInfo {
			pool, maps, tql = queues, messages, bytes
		}
		b := ints(32, pool, maps, int(l.MsgMax), int(l.MsgMnb), int(l.MsgMni), 16, tql)
		le.PutUint16(b[28:], 0xffff)
		return uint64(highest), t.CopyOutUser(a[2], b)
	case ipc.CmdStat, ipc.CmdMsgStat, ipc.CmdMsgStatAny:
		s, err := n.MsgStat(t, id, cmd != ipc.CmdStat, cmd == ipc.CmdMsgStatAny)
		if err != nil {
			return 0, err
		}
		b := make(layout, 120)
		b.perm(s.Perm)
		b.put64(48, uint64(s.Sent), uint64(s.Received), uint64(s.Changed), s.Bytes, s.Messages, s.Most)
		b.put32(96, uint32(t.Local(s.Sender)))
		b.put32(100, uint32(t.Local(s.Receiver)))
		return statID(cmd, s.Perm), t.CopyOutUser(a[2], b)
	case ipc.CmdSet:
		c, b, err := change(t, a[2], 120)
		if err != nil {
			return 0, err
		}
		return 0, n.MsgSet(t, id, c, le.Uint64(b[88:]))
	case ipc.CmdRemove:
		return 0, n.MsgRemove(t, id)
	}
	return 0, unix.EINVAL
}

// statID is what the *_STAT commands return beside the structure.
func statID(cmd int, p ipc.Perm) uint64 {
	if cmd == ipc.CmdStat {
		return 0
	}
	return uint64(p.ID)
}

func semop(t *task.Task, a Args, timeout uint64) (uint64, error) {
	var deadline time.Time
	if timeout != 0 {
		d, err := getTimespec(t, timeout)
		if err != nil {
			return 0, err
		}
		deadline = time.Now().Add(d)
	}
	count := uint32(a[2])
	if count < 1 || a.Int(0) < 0 {
		return 0, unix.EINVAL
	}
	if uint64(count) > t.IPC().Limits().SemOpm {
		return 0, unix.E2BIG
	}
	b := make([]byte, 6*count)
	if err := t.CopyInUser(a[1], b); err != nil {
		return 0, err
	}
	ops := make([]ipc.SemOp, count)
	undo := false
	for i := range ops {
		o := b[6*i:]
		ops[i] = ipc.SemOp{Num: le.Uint16(o), Op: int16(le.Uint16(o[2:])), Flags: int16(le.Uint16(o[4:]))}
		undo = undo || ops[i].Flags&ipc.SemUndo != 0
	}
	var u *ipc.Undo
	if undo {
		u = t.SemUndo()
	}
	return 0, t.IPC().SemOp(t, u, a.Int(0), ops, deadline)
}

func sysSemctl(t *task.Task, a Args) (uint64, error) {
	n, id, num, cmd := t.IPC(), a.Int(0), a.Int(1), a.Int(2)
	if id < 0 {
		return 0, unix.EINVAL
	}
	switch cmd {
	case ipc.CmdInfo, ipc.CmdSemInfo:
		l := n.Limits()
		sets, sems, highest := n.SemUsage()
		usz, aem := 20, 32767
		if cmd == ipc.CmdSemInfo {
			usz, aem = sets, sems
		}
		b := ints(40, int(l.SemMns), int(l.SemMni), int(l.SemMns), int(l.SemMns), int(l.SemMsl), int(l.SemOpm), int(l.SemOpm), usz, 32767, aem)
		return uint64(highest), t.CopyOutUser(a[3], b)
	case ipc.CmdStat, ipc.CmdSemStat, ipc.CmdSemStatAny:
		s, err := n.SemStat(t, id, cmd != ipc.CmdStat, cmd == ipc.CmdSemStatAny)
		if err != nil {
			return 0, err
		}
		b := make(layout, task.SemidSize)
		b.perm(s.Perm)
		b.put64(48, uint64(s.Operated))
		b.put64(task.SemidChanged, uint64(s.Changed))
		b.put64(task.SemidCount, s.Count)
		return statID(cmd, s.Perm), t.CopyOutUser(a[3], b)
	case ipc.CmdGetPID:
		pid, err := n.SemGetOne(t, id, num, cmd)
		return uint64(t.Local(pid)), err
	case ipc.CmdGetVal, ipc.CmdGetNCnt, ipc.CmdGetZCnt:
		return number(n.SemGetOne(t, id, num, cmd))
	case ipc.CmdGetAll:
		values, err := n.SemGetAll(t, id)
		if err != nil {
			return 0, err
		}
		b := make([]byte, 2*len(values))
		for i, v := range values {
			le.PutUint16(b[2*i:], v)
		}
		return 0, t.CopyOutUser(a[3], b)
	case ipc.CmdSetVal:
		return 0, n.SemSetValues(t, id, num, []int{a.Int(3)})
	case ipc.CmdSetAll:
		count, err := n.SemCount(t, id, 0o222)
		if err != nil {
			return 0, err
		}
		b := make([]byte, 2*count)
		if err := t.CopyInUser(a[3], b); err != nil {
			return 0, err
		}
		values := make([]int, count)
		for i := range values {
			values[i] = int(le.Uint16(b[2*i:]))
		}
		return 0, n.SemSetValues(t, id, 0, values)
	case ipc.CmdSet:
		c, _, err := change(t, a[3], task.SemidSize)
		if err != nil {
			return 0, err
		}
		return 0, n.SemSet(t, id, c)
	case ipc.CmdRemove:
		return 0, n.SemRemove(t, id)
	}
	return 0, unix.EINVAL
}

func sysShmctl(t *task.Task, a Args) (uint64, error) {
	n, id, cmd := t.IPC(), a.Int(0), a.Int(1)
	if id < 0 || cmd < 0 {
		return 0, unix.EINVAL
	}
	switch cmd {
	case ipc.CmdInfo:
		l := n.Limits()
		_, _, _, highest := n.ShmUsage()
		b := make(layout, 72)
		b.put64(0, l.ShmMax, 1, l.ShmMni, l.ShmMni, l.ShmAll)
		return uint64(highest), t.CopyOutUser(a[2], b)
	case ipc.CmdShmInfo:
		segments, pages, resident, highest := n.ShmUsage()
		b := make(layout, 48)
		b.put64(0, uint64(segments), pages, resident)
		return uint64(highest), t.CopyOutUser(a[2], b)
	case ipc.CmdStat, ipc.CmdShmStat, ipc.CmdShmStatAny:
		s, err := n.ShmStat(t, id, cmd != ipc.CmdStat, cmd == ipc.CmdShmStatAny)
		if err != nil {
			return 0, err
		}
		b := make(layout, 112)
		b.perm(s.Perm)
		b.put64(48, s.Size, uint64(s.Attached), uint64(s.Detached), uint64(s.Changed))
		b.put32(80, uint32(t.Local(s.Creator)))
		b.put32(84, uint32(t.Local(s.Last)))
		b.put64(88, uint64(s.Attachments))
		return statID(cmd, s.Perm), t.CopyOutUser(a[2], b)
	case ipc.CmdSet:
		c, _, err := change(t, a[2], 112)
		if err != nil {
			return 0, err
		}
		return 0, n.ShmSet(t, id, c)
	case ipc.CmdShmLock, ipc.CmdShmUnlock:
		return 0, n.ShmLock(t, id, cmd == ipc.CmdShmLock)
	case ipc.CmdRemove:
		return 0, n.ShmRemove(t, id)
	}
	return 0, unix.EINVAL
}
