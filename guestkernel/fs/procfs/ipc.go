package procfs

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/ipc"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// ipcOf is the IPC namespace that the caller sees.
func (fs *FS) ipcOf(c vfs.Caller) *ipc.Namespace {
	if t, ok := c.(*task.Task); ok {
		return t.IPC()
	}
	return fs.Tasks.IPC()
}

// sysvipc is /proc/sysvipc.
func (fs *FS) sysvipc(m *maker) entry {
	show := func(name string, f func(*ipc.Namespace, func(int) int) []byte) entry {
		return m.text(name, 0o444, func(c vfs.Caller) ([]byte, error) {
			local := func(pid int) int { return pid }
			if t, ok := c.(*task.Task); ok {
				local = t.Local
			}
			return f(fs.ipcOf(c), local), nil
		}, nil)
	}
	return m.dir("sysvipc", 0o555, fixed(
		show("msg", (*ipc.Namespace).ProcMsg), show("sem", (*ipc.Namespace).ProcSem), show("shm", (*ipc.Namespace).ProcShm),
	), nil, nil)
}

// numbersFile is a file of /proc/sys that holds numbers: get answers them, set takes as many.
func (fs *FS) numbersFile(m *maker, name string, get func(*ipc.Namespace) []uint64, set func(*ipc.Namespace, []uint64)) entry {
	return m.text(name, 0o644, func(c vfs.Caller) ([]byte, error) {
		text := strings.Trim(fmt.Sprint(get(fs.ipcOf(c))), "[]")
		return []byte(strings.ReplaceAll(text, " ", "\t") + "\n"), nil
	}, func(c vfs.Caller, data []byte) error {
		n := fs.ipcOf(c)
		values := get(n)
		for i, word := range strings.Fields(string(data)) {
			v, err := strconv.ParseUint(word, 10, 64)
			if err != nil || i >= len(values) {
				return unix.EINVAL
			}
			values[i] = v
		}
		set(n, values)
		return nil
	})
}

// ipcLimits are the files of System V IPC in /proc/sys/kernel.
func (fs *FS) ipcLimits(m *maker) []entry {
	one := func(name string, field func(*ipc.Limits) *uint64) entry {
		return fs.numbersFile(m, name, func(n *ipc.Namespace) []uint64 {
			l := n.Limits()
			return []uint64{*field(&l)}
		}, func(n *ipc.Namespace, v []uint64) { n.SetLimits(func(l *ipc.Limits) { *field(l) = v[0] }) })
	}
	return []entry{
		one("msgmax", func(l *ipc.Limits) *uint64 { return &l.MsgMax }),
		one("msgmnb", func(l *ipc.Limits) *uint64 { return &l.MsgMnb }),
		one("msgmni", func(l *ipc.Limits) *uint64 { return &l.MsgMni }),
		one("shmmax", func(l *ipc.Limits) *uint64 { return &l.ShmMax }),
		one("shmall", func(l *ipc.Limits) *uint64 { return &l.ShmAll }),
		one("shmmni", func(l *ipc.Limits) *uint64 { return &l.ShmMni }),
		fs.numbersFile(m, "sem", func(n *ipc.Namespace) []uint64 {
			l := n.Limits()
			return []uint64{l.SemMsl, l.SemMns, l.SemOpm, l.SemMni}
		}, func(n *ipc.Namespace, v []uint64) {
			n.SetLimits(func(l *ipc.Limits) { l.SemMsl, l.SemMns, l.SemOpm, l.SemMni = v[0], v[1], v[2], v[3] })
		}),
	}
}

// queueLimits is /proc/sys/fs/mqueue.
func (fs *FS) queueLimits(m *maker) entry {
	one := func(name string, field func(*ipc.QueueLimits) *int64) entry {
		return fs.numbersFile(m, name, func(n *ipc.Namespace) []uint64 {
			l := n.QueueLimits()
			return []uint64{uint64(*field(&l))}
		}, func(n *ipc.Namespace, v []uint64) {
			n.SetQueueLimits(func(l *ipc.QueueLimits) { *field(l) = int64(v[0]) })
		})
	}
	return m.dir("mqueue", 0o555, fixed(
		one("queues_max", func(l *ipc.QueueLimits) *int64 { return &l.Queues }),
		one("msg_max", func(l *ipc.QueueLimits) *int64 { return &l.MaxMessages }),
		one("msgsize_max", func(l *ipc.QueueLimits) *int64 { return &l.MessageSize }),
		one("msg_default", func(l *ipc.QueueLimits) *int64 { return &l.DefaultMessages }),
		one("msgsize_default", func(l *ipc.QueueLimits) *int64 { return &l.DefaultMessageSize }),
	), nil, nil)
}
