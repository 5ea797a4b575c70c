package task

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// PIDFD is a process, or a thread, as a descriptor (pidfd_open(2)). It names the same one for ever: a number that is used again is somebody else.
type PIDFD struct {
	vfs.StreamFile
	group  *Group
	thread *Task // PIDFD_THREAD
}

// PIDFDThread is the flag of pidfd_open(2) for threads; its value is O_EXCL's.
const PIDFDThread = unix.O_EXCL

// Register implements wait.Source.
func (p *PIDFD) Register(e *wait.Entry, m wait.Mask) { p.group.exits.Register(e, m) }

// Unregister implements wait.Source.
func (p *PIDFD) Unregister(e *wait.Entry) { p.group.exits.Unregister(e) }

// Readiness implements vfs.File: readable when the process has ended, hung up when it has been waited for.
func (p *PIDFD) Readiness(*vfs.Description) wait.Mask {
	p.group.k.mu.Lock()
	defer p.group.k.mu.Unlock()
	switch {
	case p.goneLocked():
		return wait.In | wait.RdNorm | wait.Hup
	case p.group.zombie, p.thread != nil && p.thread.dead:
		return wait.In | wait.RdNorm
	}
	return 0
}

// goneLocked says whether there is not even a zombie.
func (p *PIDFD) goneLocked() bool {
	return p.group.reaped || p.thread != nil && p.thread.dead && p.thread.tid != p.group.pid
}

// Info implements vfs.Informer: the numbers, as the reader's PID namespace knows them.
func (p *PIDFD) Info(c vfs.Caller) string {
	ns := p.group.k.pidns
	if t, ok := c.(*Task); ok {
		ns = t.group.pidns
	}
	k := p.group.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.goneLocked() {
		return "Pid:\t-1\nNSpid:\t-1\n"
	}
	n := p.group.pid
	if p.thread != nil {
		n = p.thread.tid
	}
	local := ns.local(n)
	s := fmt.Sprintf("Pid:\t%d\nNSpid:\t%d", local, local)
	if local != 0 {
		for _, below := range p.group.pidns.path(ns) {
			s += fmt.Sprintf("\t%d", below.local(n))
		}
	}
	return s + "\n"
}

// path lists the namespaces from below top down to ns.
func (ns *PIDNamespace) path(top *PIDNamespace) (list []*PIDNamespace) {
	for ; ns != nil && ns != top; ns = ns.parent {
		list = append([]*PIDNamespace{ns}, list...)
	}
	return list
}

// Group is the process.
func (p *PIDFD) Group() *Group { return p.group }

// Task is a thread of it that has not left, nil when there is none.
func (p *PIDFD) Task() *Task {
	if p.thread != nil {
		return p.thread
	}
	p.group.k.mu.Lock()
	defer p.group.k.mu.Unlock()
	if len(p.group.tasks) == 0 {
		return nil
	}
	return p.group.tasks[0]
}

// PIDFDOf answers the pidfd behind a description. The error is EBADF.
func PIDFDOf(d *vfs.Description) (*PIDFD, error) {
	if p, ok := d.File().(*PIDFD); ok {
		return p, nil
	}
	return nil, unix.EBADF
}

// OpenPIDFD is pidfd_open(2) up to the descriptor. Errors: EINVAL, ESRCH, ENOENT (a thread that is no process).
func (t *Task) OpenPIDFD(pid int, flags uint32) (*vfs.Description, error) {
	if pid <= 0 || flags&^(unix.O_NONBLOCK|PIDFDThread) != 0 {
		return nil, unix.EINVAL
	}
	k := t.k
	k.mu.Lock()
	n := t.group.pidns.global(pid)
	p := &PIDFD{group: k.groups[n]}
	o := k.tasks[n]
	k.mu.Unlock()
	switch {
	case p.group == nil && o == nil:
		return nil, unix.ESRCH
	case flags&PIDFDThread != 0:
		if o == nil {
			return nil, unix.ESRCH
		}
		p.group, p.thread = o.group, o
	case p.group == nil:
		return nil, unix.ENOENT
	}
	return t.describePIDFD(p, flags)
}

func (t *Task) describePIDFD(p *PIDFD, flags uint32) (*vfs.Description, error) {
	return vfs.NewAnonymous(t, "pidfd", unix.O_RDWR|flags, p)
}

// installPIDFD is CLONE_PIDFD: a descriptor for a task that is being made, stored at addr. Errors: EMFILE, EFAULT.
func (t *Task) installPIDFD(c *Task, thread bool, addr uint64) (int, error) {
	p := &PIDFD{group: c.group}
	flags := uint32(0)
	if thread {
		p.thread, flags = c, PIDFDThread
	}
	d, err := t.describePIDFD(p, flags)
	if err != nil {
		return -1, err
	}
	fd, err := t.fds.Install(d, 0, true, t.Rlimit(unix.RLIMIT_NOFILE))
	if err != nil {
		d.Unref()
		return -1, err
	}
	var word [4]byte
	binary.LittleEndian.PutUint32(word[:], uint32(fd))
	if err := t.CopyOutUser(addr, word[:]); err != nil {
		if d, err := t.fds.Remove(fd); err == nil {
			d.Unref()
		}
		return -1, err
	}
	return fd, nil
}

// Whom pidfd_send_signal(2) sends to, when it is not the kind of the descriptor.
const (
	PIDFDSignalThread  = 1
	PIDFDSignalProcess = 2
	PIDFDSignalGroup   = 4
)

// Signal is pidfd_send_signal(2); a nil info is that of kill(2). Errors: EINVAL, ESRCH, EPERM, EAGAIN.
func (p *PIDFD) Signal(t *Task, sig int, info *Info, scope uint32) error {
	if sig < 0 || sig > NumSignals {
		return unix.EINVAL
	}
	k, g := t.k, p.group
	k.mu.Lock()
	defer k.mu.Unlock()
	if !g.pidns.within(t.group.pidns) {
		return unix.EINVAL
	}
	if p.goneLocked() {
		return unix.ESRCH
	}
	code := CodeUser
	thread := scope == PIDFDSignalThread || scope == 0 && p.thread != nil
	var to *Task
	if thread {
		code = CodeTkill
		if to = p.thread; to == nil {
			to = g.leader
		}
	}
	targets := []*Group{g}
	if scope == PIDFDSignalGroup {
		pg := k.pgroups[g.pid]
		if pg == nil {
			return unix.ESRCH
		}
		targets = targets[:0]
		for m := range pg.members {
			targets = append(targets, m)
		}
	}
	err := error(unix.ESRCH)
	for _, o := range targets {
		i := info
		if i == nil {
			i = t.userInfoLocked(o, sig, code)
		}
		switch {
		case !t.maySignalLocked(o, sig):
			if err != nil {
				err = unix.EPERM
			}
		case sig == 0:
			err = nil
		default:
			err = t.sendFromLocked(o, to, i)
		}
	}
	return err
}

// Is says whether the descriptor names the task's own process: only then may it choose the signal's si_code.
func (p *PIDFD) Is(t *Task) bool { return p.group == t.group }

// File is pidfd_getfd(2) up to the descriptor: another process's file. Errors: ESRCH, EPERM, EBADF.
func (p *PIDFD) File(t *Task, fd int) (*vfs.Description, error) {
	o := p.Task()
	if o == nil {
		return nil, unix.ESRCH
	}
	v := o.View()
	switch {
	case v == nil:
		return nil, unix.ESRCH
	case !t.MayTrace(o):
		return nil, unix.EPERM
	}
	return v.FDs.Get(fd)
}

// MayTrace says whether t may look into o's memory and files, with real credentials (__ptrace_may_access).
func (t *Task) MayTrace(o *Task) bool {
	if o.group == t.group {
		return true
	}
	me, they := t.Creds(), o.Creds()
	if me.HasIn(they.User, unix.CAP_SYS_PTRACE) {
		return true
	}
	same := me.UID == they.UID && me.UID == they.EUID && me.UID == they.SUID && me.GID == they.GID && me.GID == they.EGID && me.GID == they.SGID
	return same && o.group.Dumpable() && they.Permitted&^me.Permitted == 0 && me.User == they.User
}
