package procfs

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// process is what the entries below /proc/PID show: one thread, and its process.
type process struct {
	fs    *FS
	group *task.Group
	task  *task.Task // nil: a process without threads (init, zombies)
}

// inoSpan is how many inode numbers a process has.
const inoSpan = 1 << 20

func (fs *FS) alive(pid int) func() bool {
	g := fs.Tasks.Process(fs.ns, pid)
	return func() bool { return g != nil && fs.Tasks.Process(fs.ns, pid) == g }
}

// processDir is /proc/PID.
func (fs *FS) processDir(pid int) vfs.Inode {
	g := fs.Tasks.Process(fs.ns, pid)
	p := process{fs: fs, group: g}
	m := &maker{fs: fs, base: uint64(pid) * inoSpan}
	if g != nil {
		if tasks := g.Tasks(); len(tasks) > 0 {
			p.task = tasks[0]
			m.uid, m.gid = p.task.Creds().EUID, p.task.Creds().EGID
		}
	}
	alive := fs.alive(pid)
	entries := func() []entry {
		m.last = 1
		list := p.entries(m, alive)
		return append(list, m.dir("task", 0o555, p.threads, nil, alive))
	}
	return m.dir(strconv.Itoa(pid), 0o555, entries, nil, alive).Make()
}

// threads is /proc/PID/task.
func (p process) threads() []entry {
	var list []entry
	for _, t := range p.group.Tasks() {
		tid := p.number(t.TID())
		list = append(list, entry{Name: strconv.Itoa(tid), Kind: unix.S_IFDIR, Make: func() vfs.Inode {
			m := &maker{fs: p.fs, base: uint64(p.number(p.group.PID()))*inoSpan + inoSpan/2 + uint64(tid%4096)*64, uid: t.Creds().EUID, gid: t.Creds().EGID}
			alive := func() bool { return t.View() != nil }
			one := process{p.fs, p.group, t}
			return m.dir(strconv.Itoa(tid), 0o555, func() []entry { m.last = 1; return one.entries(m, alive) }, nil, alive).Make()
		}})
	}
	return list
}

// view answers what the thread lets others look at: ESRCH when it is gone.
func (p process) view() (*task.View, error) {
	if p.task != nil {
		if v := p.task.View(); v != nil {
			return v, nil
		}
	}
	return nil, unix.ESRCH
}

// mayLook says whether c may see the process's files and memory: the same user, or a privileged one (ptrace(2), access mode checks).
func (p process) mayLook(c vfs.Caller) error {
	they := p.kernelStatus().Creds
	if c.Creds().HasIn(they.User, unix.CAP_SYS_PTRACE) || they.UID == c.Creds().FSUID && they.EUID == c.Creds().FSUID {
		return nil
	}
	return unix.EACCES
}

func (p process) entries(m *maker, alive func() bool) []entry {
	show := func(name string, mode uint32, f func() ([]byte, error)) entry {
		return m.text(name, mode, func(vfs.Caller) ([]byte, error) { return f() }, nil)
	}
	// look guards what only the user itself may see.
	look := func(f func(v *task.View) (vfs.Path, error)) func(vfs.Caller) (vfs.Path, error) {
		return func(c vfs.Caller) (vfs.Path, error) {
			if err := p.mayLook(c); err != nil {
				return vfs.Path{}, err
			}
			v, err := p.view()
			if err != nil {
				return vfs.Path{}, unix.ENOENT
			}
			return f(v)
		}
	}
	memory := func(f func(*mm.Space) []byte) func(vfs.Caller) ([]byte, error) {
		return func(c vfs.Caller) ([]byte, error) {
			if err := p.mayLook(c); err != nil {
				return nil, err
			}
			v, err := p.view()
			if err != nil {
				return nil, nil // empty, as for a zombie
			}
			return f(v.Space), nil
		}
	}
	list := []entry{
		m.text("auxv", 0o400, memory(auxv), nil),
		m.text("cmdline", 0o444, func(vfs.Caller) ([]byte, error) { return p.cmdline(), nil }, nil),
		m.text("comm", 0o644, func(vfs.Caller) ([]byte, error) { return []byte(p.status().Comm + "\n"), nil }, p.setComm),
		m.jump("cwd", 0o777, look(func(v *task.View) (vfs.Path, error) { return v.FS.Cwd(), nil })),
		m.text("environ", 0o400, memory(func(s *mm.Space) []byte { i := s.Image(); return userBytes(s, i.EnvStart, i.EnvEnd) }), nil),
		m.jump("exe", 0o777, look(func(v *task.View) (vfs.Path, error) {
			if v.Exe.Mount == nil {
				return vfs.Path{}, unix.ENOENT
			}
			return v.Exe, nil
		})),
		m.dir("fd", 0o500, func() []entry { return p.descriptors(m) }, nil, alive),
		m.dir("fdinfo", 0o555, func() []entry { return p.descriptorInfo(m) }, nil, alive),
		show("limits", 0o444, func() ([]byte, error) { return p.limits(), nil }),
		m.text("maps", 0o444, memory(mapsText), nil),
		m.dir("net", 0o555, func() []entry { return p.net(m) }, nil, alive),
		m.jump("root", 0o777, look(func(v *task.View) (vfs.Path, error) { return v.FS.Root(), nil })),
		show("stat", 0o444, func() ([]byte, error) { return p.stat(), nil }),
		show("statm", 0o444, func() ([]byte, error) { return p.statm(), nil }),
		m.text("status", 0o444, func(c vfs.Caller) ([]byte, error) { return p.statusText(c), nil }, nil),
	}
	return byName(append(append(list, p.isolation(m, alive)...), p.accounting(m)...))
}

// number is the kernel's number n as this procfs shows it.
func (p process) number(n int) int { return p.fs.Tasks.InNamespace(p.fs.ns, n) }

func (p process) status() task.Status {
	s := p.kernelStatus()
	s.PID, s.PPID, s.PGID, s.SID = p.number(s.PID), p.number(s.PPID), p.number(s.PGID), p.number(s.SID)
	return s
}

// kernelStatus has the kernel's own numbers.
func (p process) kernelStatus() task.Status {
	if p.task != nil {
		return p.task.Status()
	}
	return p.group.Status()
}

func (p process) setComm(c vfs.Caller, data []byte) error {
	if p.task == nil || c.PID() != p.group.PID() {
		return unix.EINVAL
	}
	p.task.SetComm(string(data))
	return nil
}

// userBytes reads [start, end) of the process's memory as far as it is there.
func userBytes(s *mm.Space, start, end uint64) []byte {
	if end <= start || end-start > 1<<20 {
		return nil
	}
	b := make([]byte, end-start)
	n, _ := s.CopyIn(start, b)
	return b[:n]
}

func (p process) cmdline() []byte {
	v, err := p.view()
	if err != nil {
		return nil
	}
	i := v.Space.Image()
	return userBytes(v.Space, i.ArgStart, i.ArgEnd)
}

func auxv(s *mm.Space) []byte {
	var b []byte
	for _, w := range s.Image().Auxv {
		for range 8 {
			b = append(b, byte(w))
			w >>= 8
		}
	}
	return b
}

// descriptors is /proc/PID/fd.
func (p process) descriptors(m *maker) []entry {
	v, err := p.view()
	if err != nil {
		return nil
	}
	own := &maker{fs: p.fs, uid: m.uid, gid: m.gid, base: m.base + 4096}
	var list []entry
	for _, fd := range v.FDs.Numbers() {
		d, err := v.FDs.Get(fd)
		if err != nil {
			continue
		}
		mode := uint32(0o100)
		if d.Readable() {
			mode |= 0o400
		}
		if d.Writable() {
			mode |= 0o200
		}
		d.Unref()
		own.last = uint64(fd)
		list = append(list, own.jump(strconv.Itoa(fd), mode, func(c vfs.Caller) (vfs.Path, error) {
			if err := p.mayLook(c); err != nil {
				return vfs.Path{}, err
			}
			v, err := p.view()
			if err != nil {
				return vfs.Path{}, unix.ENOENT
			}
			d, err := v.FDs.Get(fd)
			if err != nil {
				return vfs.Path{}, unix.ENOENT
			}
			defer d.Unref()
			return d.Path(), nil
		}))
	}
	return list
}

// descriptorInfo is /proc/PID/fdinfo.
func (p process) descriptorInfo(m *maker) []entry {
	v, err := p.view()
	if err != nil {
		return nil
	}
	own := &maker{fs: p.fs, uid: m.uid, gid: m.gid, base: m.base + inoSpan/4}
	var list []entry
	for _, fd := range v.FDs.Numbers() {
		own.last = uint64(fd)
		list = append(list, own.text(strconv.Itoa(fd), 0o400, func(c vfs.Caller) ([]byte, error) {
			d, err := v.FDs.Get(fd)
			if err != nil {
				return nil, unix.ENOENT
			}
			defer d.Unref()
			flags := d.StatusFlags()
			if cloexec, err := v.FDs.CloseOnExec(fd); err == nil && cloexec {
				flags |= unix.O_CLOEXEC
			}
			info := fmt.Appendf(nil, "pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%d\n", d.Position(), flags, d.Path().Mount.ID, d.Inode().Attributes().Ino)
			if f, ok := d.File().(vfs.Informer); ok {
				info = append(info, f.Info(c)...)
			}
			return info, nil
		}, nil))
	}
	return list
}

// usage is the size of the address space; zero for a process without one.
func (p process) usage() (u mm.Usage, i mm.Image) {
	if v, err := p.view(); err == nil {
		return v.Space.Usage(), v.Space.Image()
	}
	return u, i
}

// kinds are the sizes in bytes of an address space's parts, as /proc/PID/status names them.
type kinds struct{ data, stack, code, lib uint64 }

func kindsOf(s *mm.Space) (k kinds) {
	img := s.Image()
	for _, v := range s.VMAs() {
		switch {
		case v.Flags&mm.VMAStack != 0:
			k.stack += v.Len()
		case v.Prot&mm.Exec != 0 && v.Start <= img.CodeStart && img.CodeStart < v.End:
			k.code += v.Len()
		case v.Prot&mm.Exec != 0:
			k.lib += v.Len()
		case v.Prot&mm.Write != 0 && v.Flags&mm.VMAShared == 0:
			k.data += v.Len()
		}
	}
	return k
}

func (p process) stat() []byte {
	s := p.status()
	u, img := p.usage()
	tty, foreground := uint64(0), -1
	if t := p.fs.Terminals; t != nil {
		sid := p.kernelStatus().SID
		if tty, foreground = t.Number(sid), t.Foreground(sid); foreground > 0 {
			foreground = p.number(foreground)
		}
	}
	rss, _ := p.group.Limit(unix.RLIMIT_RSS)
	nice, priority := 0, 20
	if p.task != nil {
		nice = p.task.Nice()
		priority = 20 + nice
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d (%s) %c %d %d %d %d %d 0 %d 0 0 0 ", s.PID, s.Comm, s.State, s.PPID, s.PGID, s.SID, tty, foreground, u.Faults)
	fmt.Fprintf(&b, "%d %d %d %d %d %d %d 0 %d %d %d %d ", ticks(s.CPU.User), ticks(s.CPU.System), ticks(s.Children.User), ticks(s.Children.System), priority, nice, s.Threads, ticks(s.Started.Sub(p.fs.Tasks.Started())), u.Mapped, u.Resident/vfs.PageSize, rss)
	fmt.Fprintf(&b, "%d %d %d 0 0 %d %d %d %d 0 0 0 %d 0 0 0 0 0 0 ", img.CodeStart, img.CodeEnd, img.StackStart, uint32(s.Pending), uint32(s.Blocked), uint32(s.Ignored), uint32(s.Caught), s.ExitSignal)
	fmt.Fprintf(&b, "%d %d 0 %d %d %d %d %d\n", img.DataStart, img.DataEnd, img.ArgStart, img.ArgEnd, img.EnvStart, img.EnvEnd, s.ExitCode)
	return b.Bytes()
}

func (p process) statm() []byte {
	u, img := p.usage()
	return fmt.Appendf(nil, "%d %d 0 %d 0 %d 0\n", u.Mapped/vfs.PageSize, u.Resident/vfs.PageSize, (img.CodeEnd-img.CodeStart+vfs.PageSize-1)/vfs.PageSize, u.Mapped/vfs.PageSize)
}

// States as /proc/PID/status spells them.
var stateNames = map[byte]string{'R': "running", 'S': "sleeping", 'T': "stopped", 'Z': "zombie"}

func (p process) statusText(c vfs.Caller) []byte {
	seen := c.Creds().User
	s := p.status()
	u, _ := p.usage()
	tid, umask, fdSize := s.PID, uint32(0o022), 0
	if p.task != nil {
		tid = p.number(p.task.TID())
	}
	v, err := p.view()
	if err == nil {
		umask, fdSize = v.FS.Umask(), v.FDs.Size()
	}
	cr := s.Creds
	var b bytes.Buffer
	fmt.Fprintf(&b, "Name:\t%s\nUmask:\t%04o\nState:\t%c (%s)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", s.Comm, umask, s.State, stateNames[s.State], s.PID, tid, s.PPID)
	fmt.Fprintf(&b, "Uid:\t%d\t%d\t%d\t%d\nGid:\t%d\t%d\t%d\t%d\nFDSize:\t%d\nGroups:\t", seen.UID(cr.UID), seen.UID(cr.EUID), seen.UID(cr.SUID), seen.UID(cr.FSUID),
		seen.GID(cr.GID), seen.GID(cr.EGID), seen.GID(cr.SGID), seen.GID(cr.FSGID), (fdSize+63)/64*64)
	for _, g := range cr.Groups {
		fmt.Fprintf(&b, "%d ", seen.GID(g))
	}
	kernel := p.kernelStatus()
	thread := kernel.PID
	if p.task != nil {
		thread = p.task.TID()
	}
	fmt.Fprintf(&b, "\nNStgid:\t%s\nNSpid:\t%s\nNSpgid:\t%s\nNSsid:\t%s\nKthread:\t0\n", p.numbersAt(kernel.PID), p.numbersAt(thread), p.numbersAt(kernel.PGID), p.numbersAt(kernel.SID))
	if err == nil {
		fmt.Fprintf(&b, "VmPeak:\t%8d kB\nVmSize:\t%8d kB\nVmLck:\t%8d kB\nVmPin:\t%8d kB\nVmHWM:\t%8d kB\nVmRSS:\t%8d kB\n", u.PeakMapped/1024, u.Mapped/1024, v.Space.Locked()/1024, 0, u.PeakResident/1024, u.Resident/1024)
		kinds := kindsOf(v.Space)
		fmt.Fprintf(&b, "VmData:\t%8d kB\nVmStk:\t%8d kB\nVmExe:\t%8d kB\nVmLib:\t%8d kB\nVmSwap:\t%8d kB\n", kinds.data/1024, kinds.stack/1024, kinds.code/1024, kinds.lib/1024, 0)
	}
	queued, _ := p.group.Limit(unix.RLIMIT_SIGPENDING)
	fmt.Fprintf(&b, "Threads:\t%d\nSigQ:\t0/%d\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n", s.Threads, queued, s.Pending, s.SharedPending, s.Blocked, s.Ignored, s.Caught)
	fmt.Fprintf(&b, "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\nCapAmb:\t%016x\nNoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%d\n",
		cr.Inheritable, cr.Permitted, cr.Effective, cr.Bounding, cr.Ambient, s.NoNewPrivs, s.Seccomp, s.Filters)
	cpus := uint64(1)<<p.fs.CPUs - 1
	if p.task != nil {
		cpus = p.task.Affinity()
	}
	fmt.Fprintf(&b, "Cpus_allowed:\t%x\nCpus_allowed_list:\t%s\n", cpus, cpuList(cpus))
	return b.Bytes()
}

// limitNames are the rows of /proc/PID/limits.
var limitNames = []struct {
	resource   int
	name, unit string
}{
	{unix.RLIMIT_CPU, "Max cpu time", "seconds"}, {unix.RLIMIT_FSIZE, "Max file size", "bytes"}, {unix.RLIMIT_DATA, "Max data size", "bytes"},
	{unix.RLIMIT_STACK, "Max stack size", "bytes"}, {unix.RLIMIT_CORE, "Max core file size", "bytes"}, {unix.RLIMIT_RSS, "Max resident set", "bytes"},
	{unix.RLIMIT_NPROC, "Max processes", "processes"}, {unix.RLIMIT_NOFILE, "Max open files", "files"}, {unix.RLIMIT_MEMLOCK, "Max locked memory", "bytes"},
	{unix.RLIMIT_AS, "Max address space", "bytes"}, {unix.RLIMIT_LOCKS, "Max file locks", "locks"}, {unix.RLIMIT_SIGPENDING, "Max pending signals", "signals"},
	{unix.RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"}, {unix.RLIMIT_NICE, "Max nice priority", ""}, {unix.RLIMIT_RTPRIO, "Max realtime priority", ""},
	{unix.RLIMIT_RTTIME, "Max realtime timeout", "us"},
}

func (p process) limits() []byte {
	value := func(v uint64) string {
		if v == vfs.RlimInfinity {
			return "unlimited"
		}
		return strconv.FormatUint(v, 10)
	}
	b := fmt.Appendf(nil, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units")
	for _, l := range slices.Clone(limitNames) {
		cur, most := p.group.Limit(l.resource)
		b = fmt.Appendf(b, "%-25s %-20s %-20s %-10s\n", l.name, value(cur), value(most), l.unit)
	}
	return b
}

// cpuList is a set of CPUs as cpuset(7) lists it: "0-2,5".
func cpuList(cpus uint64) string {
	var parts []string
	for first := 0; first < 64; first++ {
		if cpus>>first&1 == 0 {
			continue
		}
		last := first
		for last < 63 && cpus>>(last+1)&1 != 0 {
			last++
		}
		if part := strconv.Itoa(first); last > first {
			parts = append(parts, part+"-"+strconv.Itoa(last))
		} else {
			parts = append(parts, part)
		}
		first = last
	}
	return strings.Join(parts, ",")
}
