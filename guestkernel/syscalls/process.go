package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/loader"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"clone":      sysClone,
		"clone3":     sysClone3,
		"fork":       sysFork,
		"vfork":      sysVfork,
		"execve":     sysExecve,
		"execveat":   sysExecveat,
		"exit":       sysExit,
		"exit_group": sysExitGroup,
		"wait4":      sysWait4,
		"waitid":     sysWaitid,
		"set_tid_address": func(t *task.Task, a Args) (uint64, error) {
			t.SetClearChildTID(a[0])
			return uint64(t.OwnTID()), nil
		},
	})
}

func sysClone(t *task.Task, a Args) (uint64, error) {
	flags, stack, ptid, ctid, tls := task.CloneArguments(a)
	flags = uint64(uint32(flags))
	const both = unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID // one place for two numbers
	if flags&both == both {
		return 0, unix.EINVAL
	}
	tid, err := t.Clone(task.CloneArgs{
		Flags: flags & 0xffffff00, ExitSignal: flags & 0xff, Stack: stack, PIDFD: ptid, ParentTID: ptid, ChildTID: ctid, TLS: tls,
	})
	return uint64(tid), err
}

func sysFork(t *task.Task, _ Args) (uint64, error) {
	tid, err := t.Clone(task.CloneArgs{ExitSignal: uint64(unix.SIGCHLD)})
	return uint64(tid), err
}

func sysVfork(t *task.Task, _ Args) (uint64, error) {
	tid, err := t.Clone(task.CloneArgs{Flags: unix.CLONE_VM | unix.CLONE_VFORK, ExitSignal: uint64(unix.SIGCHLD)})
	return uint64(tid), err
}

// sysClone3 reads struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup.
func sysClone3(t *task.Task, a Args) (uint64, error) {
	const size0, known = 64, 88
	size := a[1]
	switch {
	case size > 4096:
		return 0, unix.E2BIG
	case size < size0:
		return 0, unix.EINVAL
	}
	raw := make([]byte, max(size, known))
	if err := t.CopyInUser(a[0], raw[:size]); err != nil {
		return 0, err
	}
	for _, b := range raw[known:] {
		if b != 0 {
			return 0, unix.E2BIG
		}
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(raw[8*i:]) }
	c := task.CloneArgs{Flags: word(0), PIDFD: word(1), ChildTID: word(2), ParentTID: word(3), ExitSignal: word(4), Stack: word(5), TLS: word(7)}
	stackSize := word(6)
	if c.Flags&0x7f != 0 || c.ExitSignal > task.NumSignals || (c.Stack == 0) != (stackSize == 0) || (word(8) == 0) != (word(9) == 0) ||
		c.Flags&(unix.CLONE_THREAD|unix.CLONE_PARENT) != 0 && c.ExitSignal != 0 || c.Flags&unix.CLONE_DETACHED != 0 || c.Flags>>34 != 0 {
		return 0, unix.EINVAL
	}
	c.Stack += stackSize
	if word(9) != 0 {
		if err := wantedNumbers(t, &c, word(8), word(9)); err != nil {
			return 0, err
		}
	}
	if c.Flags&unix.CLONE_INTO_CGROUP != 0 {
		if size < 88 || word(10) > 1<<31-1 {
			return 0, unix.EINVAL
		}
		d, err := get(t, int(word(10)))
		if err != nil {
			return 0, err
		}
		defer d.Unref()
		dir, ok := d.Inode().(interface{ Cgroup() *task.Cgroup })
		if !ok {
			return 0, unix.EBADF
		}
		c.Cgroup = dir.Cgroup()
	}
	tid, err := t.Clone(c)
	return uint64(tid), err
}

// wantedNumbers reads the set_tid array of clone3(2). Errors: EINVAL, EFAULT, EPERM.
func wantedNumbers(t *task.Task, c *task.CloneArgs, addr, n uint64) error {
	if n > 32 {
		return unix.EINVAL
	}
	b := make([]byte, 4*n)
	if err := t.CopyInUser(addr, b); err != nil {
		return err
	}
	levels := uint64(t.Namespaces().PIDKids.Level()) + 1
	if c.Flags&unix.CLONE_NEWPID != 0 {
		levels++
	}
	if n > levels {
		return unix.EINVAL
	}
	for i := range n {
		v := int(int32(binary.LittleEndian.Uint32(b[4*i:])))
		if v <= 0 {
			return unix.EINVAL
		}
		c.SetTID = append(c.SetTID, v)
	}
	creds := t.Creds()
	if owner := t.Namespaces().PIDKids.Owner(); !creds.HasIn(owner, unix.CAP_CHECKPOINT_RESTORE) && !creds.HasIn(owner, unix.CAP_SYS_ADMIN) {
		return unix.EPERM
	}
	return nil
}

func sysExecve(t *task.Task, a Args) (uint64, error) {
	return 0, execute(t, vfs.AtCwd(t), a[0], a[1], a[2], 0)
}

func sysExecveat(t *task.Task, a Args) (uint64, error) {
	flags := a.Int(4)
	if flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 {
		return 0, unix.EINVAL
	}
	return 0, execute(t, vfs.AtFD(t, a.Int(0)), a[1], a[2], a[3], flags)
}

func execute(t *task.Task, at vfs.At, path, argv, envv uint64, flags int) error {
	name, err := t.CopyInPath(path)
	if err != nil {
		return err
	}
	budget := loaderBudget(t)
	args, err := copyInStrings(t, argv, &budget)
	if err != nil {
		return err
	}
	envs, err := copyInStrings(t, envv, &budget)
	if err != nil {
		return err
	}
	return t.Exec(name, at, flags, args, envs)
}

// loaderBudget bounds what is copied in before the loader checks exactly.
func loaderBudget(t *task.Task) int {
	return int(min(max(t.Rlimit(unix.RLIMIT_STACK)/4, loader.MaxString), 8<<20))
}

// copyInStrings reads a NULL-terminated array of strings. Errors: EFAULT, E2BIG.
func copyInStrings(t *task.Task, addr uint64, budget *int) ([]string, error) {
	var out []string
	if addr == 0 {
		return nil, nil // Linux takes a null array as empty
	}
	for i := uint64(0); ; i++ {
		var b [8]byte
		if err := t.CopyInUser(addr+8*i, b[:]); err != nil {
			return nil, err
		}
		p := binary.LittleEndian.Uint64(b[:])
		if p == 0 {
			return out, nil
		}
		s, err := t.Space().CopyInString(p, loader.MaxString-1)
		if err == unix.ENAMETOOLONG {
			err = unix.E2BIG
		}
		if err != nil {
			return nil, err
		}
		if *budget -= len(s) + 9; *budget < 0 {
			return nil, unix.E2BIG
		}
		out = append(out, s)
	}
}

func sysExit(t *task.Task, a Args) (uint64, error) { return 0, t.Exit(a.Int(0)) }

func sysExitGroup(t *task.Task, a Args) (uint64, error) { return 0, t.ExitGroup(a.Int(0)) }

func sysWait4(t *task.Task, a Args) (uint64, error) {
	pid, options := a.Int(0), a.Int(2)
	const all = unix.WNOHANG | unix.WUNTRACED | unix.WCONTINUED | unix.WALL | unix.WCLONE | unix.WNOTHREAD
	if options&^all != 0 {
		return 0, unix.EINVAL
	}
	f, err := selectChildren(t, pid)
	if err != nil {
		return 0, err
	}
	f.Options = options | unix.WEXITED
	w, err := t.Wait(f)
	if err != nil || w.PID == 0 {
		return 0, err
	}
	if a[1] != 0 {
		if err := putUint32(t, a[1], uint32(w.Status)); err != nil {
			return 0, err
		}
	}
	if a[3] != 0 {
		if err := t.CopyOutUser(a[3], rusage(w.CPU, w.MaxRSS)); err != nil {
			return 0, err
		}
	}
	return uint64(w.PID), nil
}

// selectChildren interprets the pid argument of wait4 and waitpid.
func selectChildren(t *task.Task, pid int) (f task.WaitFor, err error) {
	switch {
	case pid > 0:
		f.PID = pid
	case pid == 0:
		f.PGID = t.Local(t.PGID())
	case pid == -1<<31:
		err = unix.ESRCH
	case pid < -1:
		f.PGID = -pid
	}
	return f, err
}

func sysWaitid(t *task.Task, a Args) (uint64, error) {
	const (
		states = unix.WEXITED | unix.WSTOPPED | unix.WCONTINUED
		all    = states | unix.WNOHANG | unix.WNOWAIT | unix.WALL | unix.WCLONE | unix.WNOTHREAD
	)
	options := a.Int(3)
	if options&^all != 0 || options&states == 0 {
		return 0, unix.EINVAL
	}
	f := task.WaitFor{Options: options}
	id, nonBlocking := a.Int(1), false
	switch a.Int(0) {
	case unix.P_ALL:
	case unix.P_PID:
		if f.PID = id; id <= 0 {
			return 0, unix.EINVAL
		}
	case unix.P_PGID:
		if f.PGID = id; id < 0 {
			return 0, unix.EINVAL
		}
		if id == 0 {
			f.PGID = t.Local(t.PGID())
		}
	case unix.P_PIDFD:
		if id < 0 {
			return 0, unix.EINVAL
		}
		p, d, err := getPIDFD(t, id)
		if err != nil {
			return 0, err
		}
		defer d.Unref()
		f.Process = p.Group()
		if d.NonBlocking() && options&unix.WNOHANG == 0 {
			f.Options |= unix.WNOHANG
			nonBlocking = true
		}
	default:
		return 0, unix.EINVAL
	}
	w, err := t.Wait(f)
	if err == nil && w.PID == 0 && nonBlocking {
		return 0, unix.EAGAIN
	}
	if err != nil {
		return 0, err
	}
	if a[4] != 0 {
		if err := t.CopyOutUser(a[4], rusage(w.CPU, w.MaxRSS)); err != nil {
			return 0, err
		}
	}
	if a[2] != 0 {
		var info [128]byte
		le := binary.LittleEndian
		if w.PID != 0 {
			le.PutUint32(info[0:], uint32(unix.SIGCHLD))
			le.PutUint32(info[8:], uint32(w.Code))
			le.PutUint32(info[16:], uint32(w.PID))
			le.PutUint32(info[20:], w.UID)
			le.PutUint32(info[24:], uint32(w.Value))
		}
		if err := t.CopyOutUser(a[2], info[:]); err != nil {
			return 0, err
		}
	}
	return 0, nil
}
