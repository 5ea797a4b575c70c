// Package procfs is /proc (proc(5)): processes, and what programs want to know of the machine.
package procfs

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/kernfs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// Terminals answers what /proc/PID/stat says of a session's terminal.
type Terminals interface {
	Number(sid int) uint64
	Foreground(sid int) int
}

// Config is what a procfs shows.
type Config struct {
	Tasks     *task.Kernel
	Terminals Terminals // nil: there are none
	// Memory answers the machine's memory in bytes; cached is that of file contents.
	Memory func() (total, free, cached uint64)
	// CPUInfo is /proc/cpuinfo.
	CPUInfo func() []byte
	CPUs    int
	// Release and Version are uname(2)'s; CommandLine the kernel's.
	Release, Version, CommandLine string
}

// FS is one procfs instance.
type FS struct {
	Config
	ns   *task.PIDNamespace // whose processes it shows, with its numbers
	dev  uint64
	root vfs.Inode
	once sync.Once
	boot string // boot_id
}

// rootIno is the inode number of the root directory (PROC_ROOT_INO).
const rootIno = 1

// New answers the superblock of a procfs that shows the processes of a PID namespace.
func New(c Config, ns *task.PIDNamespace) *vfs.Superblock {
	fs := &FS{Config: c, ns: ns, dev: vfs.NewDev()}
	lastFixed.CompareAndSwap(0, rootIno)
	fs.root = fs.makeRoot()
	return vfs.NewSuperblock(fs, fs.dev, true)
}

// Register makes "proc" known to mount(2).
func Register(c Config) {
	vfs.RegisterType(vfs.Type{Name: "proc", NoDev: true, User: true, New: func(caller vfs.Caller, _, _ string) (*vfs.Superblock, error) {
		ns := c.Tasks.FirstPIDNamespace()
		if t, ok := caller.(*task.Task); ok {
			ns = t.Group().PIDNamespace()
		}
		return New(c, ns), nil
	}})
}

// Type implements vfs.Filesystem.
func (fs *FS) Type() string { return "proc" }

// Root implements vfs.Filesystem.
func (fs *FS) Root() vfs.Inode { return fs.root }

// Statfs implements vfs.Filesystem.
func (fs *FS) Statfs() vfs.Statfs {
	return vfs.Statfs{Magic: unix.PROC_SUPER_MAGIC, Bsize: vfs.PageSize}
}

// plain makes a reader out of a function that cannot fail.
func plain(f func() string) func(vfs.Caller) ([]byte, error) {
	return func(vfs.Caller) ([]byte, error) { return []byte(f()), nil }
}

func (fs *FS) makeRoot() vfs.Inode {
	m := &maker{fs: fs}
	show := func(name string, f func() string) entry { return m.text(name, 0o444, plain(f), nil) }
	number := func(f func(vfs.Caller) string) func(vfs.Caller) (string, error) {
		return func(c vfs.Caller) (string, error) { return f(c), nil }
	}
	// own is the caller's number here.
	own := func(c vfs.Caller) (int, error) {
		if n := fs.Tasks.InNamespace(fs.ns, c.PID()); n != 0 {
			return n, nil
		}
		return 0, unix.ENOENT
	}
	list := []entry{
		m.link("self", func(c vfs.Caller) (string, error) {
			n, err := own(c)
			return strconv.Itoa(n), err
		}),
		m.link("thread-self", func(c vfs.Caller) (string, error) {
			n, err := own(c)
			tid := n
			if t, ok := c.(*task.Task); ok {
				tid = fs.Tasks.InNamespace(fs.ns, t.TID())
			}
			return fmt.Sprintf("%d/task/%d", n, tid), err
		}),
		m.link("mounts", number(func(vfs.Caller) string { return "self/mounts" })),
		m.link("net", number(func(vfs.Caller) string { return "self/net" })),
		show("cmdline", func() string { return fs.CommandLine + "\n" }),
		m.text("cpuinfo", 0o444, func(vfs.Caller) ([]byte, error) { return fs.CPUInfo(), nil }, nil),
		show("filesystems", filesystems),
		show("loadavg", fs.loadavg),
		show("meminfo", fs.meminfo),
		show("stat", fs.stat),
		show("swaps", func() string { return "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" }),
		show("uptime", fs.uptime),
		show("version", func() string { return fmt.Sprintf("Linux version %s (ringo) %s\n", fs.Release, fs.Version) }),
		show("partitions", func() string { return "major minor  #blocks  name\n\n" }),
		m.dir("sys", 0o555, fixed(fs.sysctl(m)...), nil, nil),
		fs.sysvipc(m),
	}
	list = append(list, fs.machine(m)...)
	found := make(map[string]entry, len(list))
	for _, e := range list {
		found[e.Name] = e
	}
	entries := func() []entry {
		pids := slices.Sorted(maps.Keys(fs.Tasks.Processes(fs.ns)))
		all := slices.Clone(list)
		for _, pid := range pids {
			all = append(all, entry{Name: strconv.Itoa(pid), Kind: unix.S_IFDIR, Make: func() vfs.Inode { return fs.processDir(pid) }})
		}
		return all
	}
	find := func(name string) vfs.Inode {
		if e, ok := found[name]; ok {
			return e.Make()
		}
		pid, err := strconv.Atoi(name)
		if err != nil || strconv.Itoa(pid) != name || fs.Tasks.Process(fs.ns, pid) == nil {
			return nil
		}
		return fs.processDir(pid)
	}
	d := &kernfs.Dir{Entries: entries, Find: find}
	d.Init(fs.dev, rootIno, unix.S_IFDIR|0o555, 0, 0)
	return d
}

func filesystems() string {
	var b strings.Builder
	for _, t := range vfs.Types() {
		if t.NoDev {
			b.WriteString("nodev")
		}
		b.WriteString("\t" + t.Name + "\n")
	}
	return b.String()
}

func (fs *FS) uptime() string {
	up := time.Since(fs.Tasks.Started())
	idle := time.Duration(fs.CPUs)*up - fs.busy().Total()
	return fmt.Sprintf("%.2f %.2f\n", up.Seconds(), max(0, idle).Seconds())
}

// busy is the CPU time of all processes that exist.
func (fs *FS) busy() (total task.CPUTimes) {
	for _, g := range fs.Tasks.Processes(fs.Tasks.FirstPIDNamespace()) {
		own, children := g.CPUTime()
		total = task.CPUTimes{User: total.User + own.User + children.User, System: total.System + own.System + children.System}
	}
	return total
}

// loadavg has no averages: the load is what runs now.
func (fs *FS) loadavg() string {
	running := fs.Tasks.Running()
	load := float64(running)
	return fmt.Sprintf("%.2f %.2f %.2f %d/%d %d\n", load, load, load, running, fs.Tasks.Live(), fs.Tasks.LastNumber(fs.ns))
}

func (fs *FS) meminfo() string {
	total, free, cached := fs.Memory()
	var b strings.Builder
	for _, l := range []struct {
		name  string
		bytes uint64
	}{
		{"MemTotal", total}, {"MemFree", free}, {"MemAvailable", free}, {"Buffers", 0}, {"Cached", cached}, {"SwapCached", 0}, {"Active", 0},
		{"Inactive", 0}, {"SwapTotal", 0}, {"SwapFree", 0}, {"Dirty", 0}, {"Writeback", 0}, {"Shmem", cached}, {"Slab", 0}, {"SReclaimable", 0},
	} {
		fmt.Fprintf(&b, "%-16s%8d kB\n", l.name+":", l.bytes/1024)
	}
	return b.String()
}

// ticks is t in units of 1/USER_HZ seconds.
func ticks(t time.Duration) int64 { return int64(t / (10 * time.Millisecond)) }

func (fs *FS) stat() string {
	up := time.Since(fs.Tasks.Started())
	busy := fs.busy()
	idle := max(0, time.Duration(fs.CPUs)*up-busy.Total())
	var b strings.Builder
	fmt.Fprintf(&b, "cpu  %d 0 %d %d 0 0 0 0 0 0\n", ticks(busy.User), ticks(busy.System), ticks(idle))
	for cpu := range fs.CPUs {
		fmt.Fprintf(&b, "cpu%d %d 0 %d %d 0 0 0 0 0 0\n", cpu, ticks(busy.User)/int64(fs.CPUs), ticks(busy.System)/int64(fs.CPUs), ticks(idle)/int64(fs.CPUs))
	}
	fmt.Fprintf(&b, "intr 0\nctxt 0\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked 0\n", fs.Tasks.Started().Unix(), fs.Tasks.Forks(), max(1, fs.Tasks.Running()))
	return b.String()
}

// sysctl is /proc/sys.
func (fs *FS) sysctl(m *maker) []entry {
	m.strict = true
	defer func() { m.strict = false }()
	value := func(name, v string) entry { return m.text(name, 0o444, plain(func() string { return v + "\n" }), nil) }
	// name is a name of the reader's UTS namespace.
	name := func(file string, get func(*task.UTSNamespace) string, set func(*task.UTSNamespace, string)) entry {
		uts := func(c vfs.Caller) (*task.UTSNamespace, error) {
			if t, ok := c.(*task.Task); ok {
				return t.UTS(), nil
			}
			return nil, unix.EINVAL
		}
		return m.text(file, 0o644, func(c vfs.Caller) ([]byte, error) {
			u, err := uts(c)
			if err != nil {
				return nil, err
			}
			return []byte(get(u) + "\n"), nil
		}, func(c vfs.Caller, data []byte) error {
			u, err := uts(c)
			if err == nil {
				line, _, _ := bytes.Cut(data, []byte("\n"))
				set(u, string(line[:min(len(line), 64)]))
			}
			return err
		})
	}
	return []entry{
		m.dir("kernel", 0o555, fixed(append(append(fs.ipcLimits(m), fs.kernelValues(m)...),
			name("hostname", func(u *task.UTSNamespace) string { h, _ := u.Names(); return h }, (*task.UTSNamespace).SetHost),
			name("domainname", func(u *task.UTSNamespace) string { _, d := u.Names(); return d }, (*task.UTSNamespace).SetDomain),
			value("ostype", "Linux"), value("osrelease", fs.Release), value("version", fs.Version),
			value("pid_max", "4194304"), value("threads-max", "32768"), value("ngroups_max", "65536"), value("cap_last_cap", strconv.Itoa(unix.CAP_LAST_CAP)),
			value("overflowuid", "65534"), value("overflowgid", "65534"), value("randomize_va_space", "2"),
		)...), nil, nil),
		fs.netSysctl(m),
		m.dir("vm", 0o555, fixed(fs.vmValues(m)...), nil, nil),
		m.dir("fs", 0o555, fixed(append(fs.fsValues(m), fs.queueLimits(m))...), nil, nil),
		m.dir("user", 0o555, fixed(fs.userValues(m)...), nil, nil),
	}
}

// mountOptions is the options column of /proc/mounts.
func mountOptions(m *vfs.Mount) string {
	o := "rw"
	if m.ReadOnly() {
		o = "ro"
	}
	for _, f := range []struct {
		flag uintptr
		name string
	}{{unix.MS_NOSUID, "nosuid"}, {unix.MS_NODEV, "nodev"}, {unix.MS_NOEXEC, "noexec"}, {unix.MS_NOATIME, "noatime"}, {unix.MS_NODIRATIME, "nodiratime"}} {
		if m.Flags()&f.flag != 0 {
			o += "," + f.name
		}
	}
	if m.Flags()&(unix.MS_NOATIME|unix.MS_STRICTATIME) == 0 {
		o += ",relatime"
	}
	return o
}

// shown are the filesystem's own options.
func shown(m *vfs.Mount) string {
	if f, ok := m.Superblock().FS.(interface{ Show() string }); ok {
		return f.Show()
	}
	return ""
}

// mangle escapes what would break the columns of /proc/mounts and /proc/PID/maps.
func mangle(s string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(s)
}

// visible calls fn for the mounts that are below root, with their places as seen from there.
func visible(root vfs.Path, fn func(m *vfs.Mount, place string)) {
	ns := root.Mount.Namespace()
	if ns == nil {
		return
	}
	for _, m := range ns.Mounts() {
		if place, ok := m.Root().From(root); ok {
			fn(m, place)
		}
	}
}

func mounts(root vfs.Path) []byte {
	var b bytes.Buffer
	visible(root, func(m *vfs.Mount, place string) {
		fmt.Fprintf(&b, "%s %s %s %s%s 0 0\n", mangle(cmp.Or(m.Source, "none")), mangle(place), m.Superblock().FS.Type(), mountOptions(m), shown(m))
	})
	return b.Bytes()
}

func mountinfo(root vfs.Path) []byte {
	var b bytes.Buffer
	visible(root, func(m *vfs.Mount, place string) {
		dev := m.Superblock().Dev
		inner := m.Root().Dentry.PathInFS()
		fmt.Fprintf(&b, "%d %d %d:%d %s %s %s", m.ID, m.Parent().ID, unix.Major(dev), unix.Minor(dev), mangle(inner), mangle(place), mountOptions(m))
		shared, master, unbindable := m.Propagation()
		if shared != 0 {
			fmt.Fprintf(&b, " shared:%d", shared)
		}
		if master != 0 {
			fmt.Fprintf(&b, " master:%d", master)
		}
		if unbindable {
			b.WriteString(" unbindable")
		}
		access := "rw"
		if m.Superblock().ReadOnly.Load() {
			access = "ro"
		}
		fmt.Fprintf(&b, " - %s %s %s%s\n", m.Superblock().FS.Type(), mangle(cmp.Or(m.Source, "none")), access, shown(m))
	})
	return b.Bytes()
}
