package boot

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/loader"
	"ringo/guestkernel/syscalls"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
	"ringo/internal/command"
)

// Streams are a program's descriptors 0, 1 and 2. Start takes the references over.
type Streams [3]*vfs.Description

// failure is why a program did not start.
func failure(reason command.Reason, err error, format string, args ...any) *command.Failed {
	f := &command.Failed{Reason: reason, Message: fmt.Sprintf(format, args...)}
	var errno unix.Errno
	if errors.As(err, &errno) {
		f.Errno = int(errno)
	}
	return f
}

// Start starts the program that s describes, in the tree of ns. started, if not nil, is called with its number before its first instruction.
func Start(k *task.Kernel, ns *vfs.Namespace, s *command.Start, streams Streams, started func(pid int)) (*task.Group, *command.Failed) {
	fds := vfs.NewFDTable()
	for fd, d := range streams {
		if err := fds.Replace(d, fd, false, vfs.MaxDescriptors); err != nil {
			d.Unref()
		}
	}
	fs := vfs.NewFSContext(ns.Root())
	caller := vfs.NewKernelCaller(ns.Root())
	defer caller.Close()
	leave := func() {
		fds.Leave()
		fs.Leave()
	}
	dir := s.Dir
	if dir == "" {
		dir = "/"
	}
	cwd, err := vfs.Lookup(caller, vfs.AtCwd(caller), dir, vfs.Follow)
	if err == nil && !cwd.Dentry.Inode().Attributes().IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		leave()
		return nil, failure(command.ReasonBadDir, err, "working directory %s: %v", dir, err)
	}
	fs.SetCwd(cwd)
	caller.FS().SetCwd(cwd)
	path, failed := findProgram(caller, s)
	if failed != nil {
		leave()
		return nil, failed
	}
	args := s.Args
	if len(args) == 0 {
		args = []string{s.Path}
	}
	g, err := k.Spawn(task.Spawn{Path: path, Argv: args, Envv: s.Env, FS: fs, FDs: fds, Creds: vfs.RootCreds(), Started: started})
	if err != nil {
		return nil, explain(path, err)
	}
	return g, nil
}

// findProgram answers the program's path: Path itself when it has a slash, else the first match in PATH.
func findProgram(c vfs.Caller, s *command.Start) (string, *command.Failed) {
	if strings.Contains(s.Path, "/") {
		if _, err := vfs.Lookup(c, vfs.AtCwd(c), s.Path, vfs.Follow); err != nil {
			return "", failure(command.ReasonNotFound, err, "%s: not found in the guest", s.Path)
		}
		return s.Path, nil
	}
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, e := range s.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	for _, dir := range strings.Split(search, ":") {
		path := strings.TrimSuffix(dir, "/") + "/" + s.Path
		p, err := vfs.Lookup(c, vfs.AtCwd(c), path, vfs.Follow)
		if err == nil && p.Dentry.Inode().Attributes().Type() == unix.S_IFREG {
			return path, nil
		}
	}
	return "", failure(command.ReasonNotFound, unix.ENOENT, "%s: not found in the guest's PATH (%s)", s.Path, search)
}

// explain turns execve's error into a message for the user.
func explain(path string, err error) *command.Failed {
	var interp *loader.ErrNoInterpreter
	switch {
	case errors.As(err, &interp):
		return failure(command.ReasonNoInterpreter, err,
			"%s is dynamically linked and its interpreter %s cannot be used in the guest: %v (add it and the libraries to the initramfs, or link statically)",
			path, interp.Interpreter, interp.Err)
	case errors.Is(err, unix.ENOEXEC):
		return failure(command.ReasonBadFormat, err, "%s is neither an executable for %s nor a script with #!", path, task.UnameMachine)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return failure(command.ReasonNotExecutable, err, "%s is not an executable file in the guest: %v", path, err)
	case errors.Is(err, unix.ENOENT):
		return failure(command.ReasonNoInterpreter, err, "%s is a script whose interpreter is not in the guest", path)
	case errors.Is(err, unix.E2BIG):
		return failure(command.ReasonTooBig, err, "the arguments and the environment of %s are too large", path)
	}
	return failure(command.ReasonKernel, err, "starting %s: %v", path, err)
}

// exitOf says how a program ended.
func exitOf(g *task.Group) *command.Exit {
	ws := g.ExitStatus()
	if ws.Signaled() {
		return &command.Exit{Signal: int(ws.Signal())}
	}
	return &command.Exit{Code: ws.ExitStatus()}
}

// missing lists the system calls that were not served, nil if there were none.
func missing(t *syscalls.Table) *command.Missing {
	list := t.Missing()
	if len(list) == 0 {
		return nil
	}
	m := &command.Missing{Calls: make(map[string]uint64)}
	for _, c := range list {
		m.Calls[c.Name] = c.Count
	}
	return m
}
