package task

import (
	"path"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/loader"
	"ringo/guestkernel/mm"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Exec is execve(2) and execveat(2) relative to at; flags are AT_EMPTY_PATH and AT_SYMLINK_NOFOLLOW. On success the
// answer is ErrNoReturn: the task runs the new program.
func (t *Task) Exec(name string, at vfs.At, flags int, argv, envv []string) error {
	if err := t.exec(name, func(vfs.Caller) vfs.At { return at }, flags, argv, envv); err != nil {
		return err
	}
	return ErrNoReturn
}

// exec replaces the task's program. Until the new image is complete nothing of the old one changes.
func (t *Task) exec(name string, at func(vfs.Caller) vfs.At, flags int, argv, envv []string) error {
	file, err := t.openExecutable(at(t), name, flags)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		argv = []string{""}
	}
	creds, secure := t.credsFor(file.(*executableFile))
	k := t.k
	stack := t.Rlimit(unix.RLIMIT_STACK)
	space, err := k.Memory.NewSpace(t.layoutRandom(), stack)
	if err != nil {
		file.Close()
		return unix.ENOMEM
	}
	prog := loader.Program{
		Path: name, File: file, Argv: argv, Envv: envv, UID: creds.User.UID(creds.UID), EUID: creds.User.UID(creds.EUID),
		GID: creds.User.GID(creds.GID), EGID: creds.User.GID(creds.EGID), Secure: secure,
	}
	// The program's file is the last that was opened by the name that the loader settles on: not a script, not a dynamic loader.
	opened := map[string]vfs.Path{name: file.(*executableFile).d.Path()}
	open := func(p string) (loader.File, error) {
		f, err := t.openExecutable(vfs.AtCwd(t), p, 0)
		if err == nil {
			opened[p] = f.(*executableFile).d.Path()
		}
		return f, err
	}
	hw := k.Auxv
	hw.Machine, hw.Platform = elfMachine, platform
	hw.MinSigStack = signalFrameSize(len(t.ctx.VectorState()))
	loaded, err := loader.Load(space, prog, open, hw, t.layoutRandom(), stack)
	if err == nil && t.space != nil {
		err = t.killSiblings()
	}
	if err != nil {
		space.Release()
		return err
	}

	// Nothing can fail from here on.
	t.view.Store(nil)
	if t.space != nil {
		t.leaveSpace()
	}
	t.space = space
	space.SetOwner(t.group.pid)
	t.exe = opened[space.Image().Path]
	space.SetLimits(stack, t.Rlimit(unix.RLIMIT_AS))
	t.ctx.SetVectorState(nil)
	t.ctx.Reset(loaded.Entry, loaded.SP)
	t.ctx.SetRoot(space.Root())
	if t.fds.Shared() {
		own := t.fds.Fork()
		t.fds.Leave()
		t.fds = own
	}
	t.fds.Exec()
	t.publishView()
	t.alt = altStack{Flags: ssDisable}
	t.robustList, t.clearChildTID = 0, 0
	t.rseq = rseq{}
	t.applyAffinity(t.affinity.Load())
	t.restart, t.restartCall = nil, nil
	t.SetComm(path.Base(name))
	changed := creds.EUID != t.Creds().EUID || creds.EGID != t.Creds().EGID
	if changed {
		t.SetParentDeathSignal(0)
	}
	t.SetCreds(creds)

	k.mu.Lock()
	defer k.mu.Unlock()
	g := t.group
	g.execed, g.undumpable = true, changed || creds.EUID != creds.UID || creds.EGID != creds.GID
	g.deleteTimersLocked()
	g.barriers = 0
	old := g.actions
	g.actions = newActions()
	for sig := range old.table {
		if old.table[sig].Handler == sigIgn {
			g.actions.table[sig].Handler = sigIgn
		}
	}
	if g.exitSignal != 0 {
		g.exitSignal = unix.SIGCHLD
	}
	return nil
}

// credsFor answers the credentials that the program is to have, and whether it has to be careful. The set-id bits count unless the mount, a
// promise (PR_SET_NO_NEW_PRIVS) or the user namespace is against it; those of scripts never do.
func (t *Task) credsFor(f *executableFile) (*vfs.Creds, bool) {
	old := t.Creds()
	euid, egid := old.EUID, old.EGID
	p := f.d.Path()
	mode, uid, gid := p.Inode().Attributes().Owner()
	var magic [2]byte
	f.ReadAt(magic[:], 0)
	if mode&(unix.S_ISUID|unix.S_ISGID) != 0 && string(magic[:]) != "#!" && p.Mount.Flags()&unix.MS_NOSUID == 0 && !t.NoNewPrivileges() && old.HasNames(uid, gid) {
		if mode&unix.S_ISUID != 0 {
			euid = uid
		}
		if mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP {
			egid = gid
		}
	}
	return old.Exec(euid, egid)
}

// killSiblings ends all other threads and makes the caller the leader (de_thread).
func (t *Task) killSiblings() error {
	k, g := t.k, t.group
	k.mu.Lock()
	if g.exiting || t.killed {
		k.mu.Unlock()
		return wait.ErrRestartNoIntr
	}
	if len(g.tasks) > 1 {
		g.execing, g.execAlone = t, make(chan struct{})
		for _, s := range g.tasks {
			if s != t {
				s.killed = true
				s.notifyLocked()
			}
		}
		alone := g.execAlone
		k.mu.Unlock()
		killed := t.sleepKillable(alone)
		k.mu.Lock()
		g.execing = nil
		if killed {
			k.mu.Unlock()
			return wait.ErrRestartNoIntr
		}
	}
	if t.tid != g.pid {
		delete(k.tasks, t.tid)
		k.dropNumberLocked(t.tid, g.pidns)
		g.unreaped--
		g.cgroup.chargeLocked(-1, true)
		t.tid, t.own = g.pid, g.own
		t.slot.SetIDs(t.tid, g.pid)
		k.tasks[g.pid] = t
	}
	g.leader = t
	k.mu.Unlock()
	return nil
}

// openExecutable finds a file and checks that it may be executed (do_open_execat). Errors: those of the path, EACCES, ENOENT.
func (t *Task) openExecutable(at vfs.At, name string, flags int) (loader.File, error) {
	if name == "" && flags&unix.AT_EMPTY_PATH == 0 {
		return nil, unix.ENOENT
	}
	look := vfs.Follow
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		look = 0
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		look |= vfs.EmptyPath
	}
	p, err := vfs.Lookup(t, at, name, look)
	if err != nil {
		return nil, err
	}
	inode := p.Dentry.Inode()
	switch {
	case inode.Attributes().Type() == unix.S_IFLNK:
		return nil, unix.ELOOP
	case inode.Attributes().Type() != unix.S_IFREG:
		return nil, unix.EACCES
	}
	if p.Mount.Flags()&unix.MS_NOEXEC != 0 {
		return nil, unix.EACCES
	}
	if err := t.Creds().MayAccess(inode.Attributes(), vfs.MayExec); err != nil {
		return nil, err
	}
	// Nobody writes to a file that is being executed.
	if err := inode.Attributes().DenyWrite(); err != nil {
		return nil, err
	}
	d, err := vfs.OpenPath(t, p, unix.O_RDONLY, false)
	if err != nil {
		inode.Attributes().AllowWrite()
		return nil, err
	}
	return &executableFile{t, d}, nil
}

// executableFile is a description as the loader reads it.
type executableFile struct {
	t *Task
	d *vfs.Description
}

func (f *executableFile) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := f.d.ReadAt(f.t, vfs.Bytes(p[done:]), off+int64(done))
		if err != nil || n == 0 {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (f *executableFile) Object() mm.Object {
	o, err := NewFileObject(f.t, f.d)
	if err != nil {
		return nil
	}
	return o
}

// Name is the file's path, without symbolic links.
func (f *executableFile) Name() string { return f.d.Path().String() }

func (f *executableFile) Close() {
	f.d.Inode().Attributes().AllowWrite()
	f.d.Unref()
}

// Executing implements loader.File.
func (f *executableFile) Executing() mm.Holder {
	h := running{f.d}
	h.Hold()
	return h
}

// running keeps the file that address spaces run from being written (ETXTBSY).
type running struct{ d *vfs.Description }

// Hold implements mm.Holder. The file cannot be open for writing: somebody holds it already.
func (r running) Hold() {
	r.d.Ref()
	if err := r.d.Inode().Attributes().DenyWrite(); err != nil {
		panic("task: executable is open for writing")
	}
}

// Release implements mm.Holder.
func (r running) Release() {
	r.d.Inode().Attributes().AllowWrite()
	r.d.Unref()
}
