package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/ipc"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"mq_open": sysMqOpen, "mq_timedsend": sysMqTimedsend, "mq_timedreceive": sysMqTimedreceive, "mq_notify": sysMqNotify, "mq_getsetattr": sysMqGetsetattr,
		"mq_unlink": func(t *task.Task, a Args) (uint64, error) {
			name, err := t.CopyInPath(a[0])
			if err != nil {
				return 0, err
			}
			return 0, t.IPC().QueueUnlink(t, name)
		},
	})
}

func sysMqOpen(t *task.Task, a Args) (uint64, error) {
	var attr *ipc.QueueAttr
	if a[3] != 0 {
		w, err := getUint64s(t, a[3], 8)
		if err != nil {
			return 0, err
		}
		attr = &ipc.QueueAttr{MaxMessages: int64(w[1]), MessageSize: int64(w[2])}
	}
	name, err := t.CopyInPath(a[0])
	if err != nil {
		return 0, err
	}
	if err := t.FDs().HasRoom(t.Rlimit(unix.RLIMIT_NOFILE)); err != nil {
		return 0, err
	}
	d, err := t.IPC().QueueOpen(t, name, a.Uint(1), a.Uint(2), attr)
	if err != nil {
		return 0, err
	}
	return install(t, d, true)
}

// queueOf answers the queue behind a descriptor. The caller drops the description. The error is EBADF.
func queueOf(t *task.Task, fd int) (*vfs.Description, ipc.Queue, error) {
	d, err := get(t, fd)
	if err != nil {
		return nil, ipc.Queue{}, err
	}
	q, err := ipc.QueueOf(d)
	if err != nil {
		d.Unref()
	}
	return d, q, err
}

// queueDeadline reads the absolute time until which a call may wait. Errors: EFAULT, EINVAL.
func queueDeadline(t *task.Task, addr uint64) (time.Time, error) {
	if addr == 0 {
		return time.Time{}, nil
	}
	d, err := getTimespec(t, addr)
	if err != nil {
		return time.Time{}, err
	}
	return afterReal(d), nil
}

func sysMqTimedsend(t *task.Task, a Args) (uint64, error) {
	deadline, err := queueDeadline(t, a[4])
	if err != nil {
		return 0, err
	}
	if !ipc.ValidPriority(uint64(a.Uint(3))) {
		return 0, unix.EINVAL
	}
	d, q, err := queueOf(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return 0, q.Send(t, a[2], a.Uint(3), deadline, func(b []byte) error { return t.CopyInUser(a[1], b) })
}

func sysMqTimedreceive(t *task.Task, a Args) (uint64, error) {
	deadline, err := queueDeadline(t, a[4])
	if err != nil {
		return 0, err
	}
	d, q, err := queueOf(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	text, priority, err := q.Receive(t, a[2], deadline)
	if err != nil {
		return 0, err
	}
	if a[3] != 0 {
		if err := putUint32(t, a[3], priority); err != nil {
			return 0, err
		}
	}
	return uint64(len(text)), t.CopyOutUser(a[1], text)
}

func sysMqNotify(t *task.Task, a Args) (uint64, error) {
	const sigevSignal, sigevNone, sigevThread = 0, 1, 2
	var b [64]byte
	if a[1] != 0 {
		if err := t.CopyInUser(a[1], b[:]); err != nil {
			return 0, err
		}
	}
	value, signal, kind := le.Uint64(b[:]), int(int32(le.Uint32(b[8:]))), int(int32(le.Uint32(b[12:])))
	switch {
	case a[1] == 0:
	case kind != sigevSignal && kind != sigevNone && kind != sigevThread,
		kind == sigevSignal && (signal < 0 || signal > task.NumSignals):
		return 0, unix.EINVAL
	case kind == sigevThread:
		return 0, unix.EBADF // the signal number is a netlink socket, and there are none
	}
	d, q, err := queueOf(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if a[1] == 0 {
		q.Forget(t)
		return 0, nil
	}
	if kind == sigevNone {
		return 0, q.Notify(t, kind, 0, func(vfs.Caller) {})
	}
	k, g := t.Kernel(), t.Group()
	return 0, q.Notify(t, kind, signal, func(sender vfs.Caller) {
		k.SignalMessage(g, signal, value, sender.PID(), sender.Creds().UID)
	})
}

func sysMqGetsetattr(t *task.Task, a Args) (uint64, error) {
	var flags uint64
	if a[1] != 0 {
		w, err := getUint64s(t, a[1], 8)
		if err != nil {
			return 0, err
		}
		if flags = w[0]; flags&^unix.O_NONBLOCK != 0 {
			return 0, unix.EINVAL
		}
	}
	d, q, err := queueOf(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	attr := q.Attr()
	old := uint64(d.Flags() & unix.O_NONBLOCK)
	if a[1] != 0 {
		if err := d.SetStatusFlags(t, d.Flags()&^unix.O_NONBLOCK|uint32(flags)); err != nil {
			return 0, err
		}
	}
	if a[2] == 0 {
		return 0, nil
	}
	return 0, putUint64s(t, a[2], old, uint64(attr.MaxMessages), uint64(attr.MessageSize), uint64(attr.Messages), 0, 0, 0, 0)
}
