// Package sysfs is /sys (sysfs(5)): as much of it as C libraries, runtimes and small tools read, which is the processors, the memory node and
// the places where other filesystems are mounted.
package sysfs

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/kernfs"
	"ringo/guestkernel/vfs"
)

// Config is what a sysfs shows.
type Config struct {
	CPUs int
	// Memory answers the machine's memory in bytes.
	Memory func() (total, free, cached uint64)
	// Recorder is the kernel's flight recorder, nil when it has none.
	Recorder Recorder
}

// Recorder is what kernel/tracing shows, two files of Linux's tracefs.
type Recorder interface {
	On() bool
	Set(on bool)
	// Mark records a text of the caller.
	Mark(c vfs.Caller, text string)
}

// FS is a sysfs.
type FS struct {
	Config
	dev  uint64
	last uint64
	root vfs.Inode
}

// New answers the superblock of a sysfs.
func New(c Config) *vfs.Superblock {
	fs := &FS{Config: c, dev: vfs.NewDev()}
	fs.root = fs.dir("", fs.top()...).Make()
	return vfs.NewSuperblock(fs, fs.dev, true)
}

// Register makes "sysfs" known to mount(2): all mounts are of one instance, which it answers.
func Register(c Config) *vfs.Superblock {
	sb := New(c)
	vfs.RegisterType(vfs.Type{Name: "sysfs", NoDev: true, User: true, New: func(vfs.Caller, string, string) (*vfs.Superblock, error) { return sb, nil }})
	return sb
}

// Type implements vfs.Filesystem.
func (*FS) Type() string { return "sysfs" }

// Root implements vfs.Filesystem.
func (fs *FS) Root() vfs.Inode { return fs.root }

// Statfs implements vfs.Filesystem.
func (*FS) Statfs() vfs.Statfs { return vfs.Statfs{Magic: unix.SYSFS_MAGIC, Bsize: vfs.PageSize} }

// attribute is a text of one page, as stat(2) says of all of them.
type attribute struct{ kernfs.Text }

// Size implements vfs.Inode.
func (*attribute) Size() (int64, int64) { return vfs.PageSize, 0 }

func (fs *FS) init(a *vfs.Attrs, mode uint32) {
	fs.last++
	a.Init(fs.dev, fs.last, mode, 0, 0)
}

func (fs *FS) dir(name string, list ...kernfs.Entry) kernfs.Entry {
	d := &kernfs.Dir{Shut: true, Entries: func() []kernfs.Entry { return list }}
	fs.init(&d.Attrs, unix.S_IFDIR|0o755)
	return kernfs.Entry{Name: name, Kind: unix.S_IFDIR, Make: func() vfs.Inode { return d }}
}

func (fs *FS) show(name string, f func() string) kernfs.Entry {
	t := &attribute{kernfs.Text{Read: func(vfs.Caller) ([]byte, error) { return []byte(f()), nil }}}
	fs.init(&t.Attrs, unix.S_IFREG|0o444)
	return kernfs.Entry{Name: name, Kind: unix.S_IFREG, Make: func() vfs.Inode { return t }}
}

func (fs *FS) value(name, v string) kernfs.Entry {
	return fs.show(name, func() string { return v + "\n" })
}

// control is a file that its owner may write to; show is nil for one that nobody may read.
func (fs *FS) control(name string, show func() string, set func(vfs.Caller, string) error) kernfs.Entry {
	t := &attribute{kernfs.Text{Write: func(c vfs.Caller, data []byte) error { return set(c, string(data)) }}}
	mode := uint32(0o200)
	if show != nil {
		mode = 0o640
		t.Read = func(vfs.Caller) ([]byte, error) { return []byte(show()), nil }
	}
	fs.init(&t.Attrs, unix.S_IFREG|mode)
	return kernfs.Entry{Name: name, Kind: unix.S_IFREG, Make: func() vfs.Inode { return t }}
}

// tracing is kernel/tracing, empty without a recorder as where no tracefs is mounted.
func (fs *FS) tracing() []kernfs.Entry {
	r := fs.Recorder
	if r == nil {
		return nil
	}
	return []kernfs.Entry{
		fs.control("tracing_on", func() string {
			if r.On() {
				return "1\n"
			}
			return "0\n"
		}, func(_ vfs.Caller, v string) error {
			n, err := strconv.ParseUint(v, 0, 64)
			if err != nil {
				return unix.EINVAL
			}
			r.Set(n != 0)
			return nil
		}),
		fs.control("trace_marker", nil, func(c vfs.Caller, text string) error {
			r.Mark(c, text)
			return nil
		}),
	}
}

func (fs *FS) link(name, target string) kernfs.Entry {
	l := &kernfs.Link{Target: func(vfs.Caller) (string, error) { return target, nil }}
	fs.init(&l.Attrs, unix.S_IFLNK|0o777)
	return kernfs.Entry{Name: name, Kind: unix.S_IFLNK, Make: func() vfs.Inode { return l }}
}

func (fs *FS) top() []kernfs.Entry {
	return []kernfs.Entry{
		fs.dir("block"), fs.dir("bus", fs.dir("cpu", fs.dir("devices"), fs.dir("drivers")), fs.dir("node", fs.dir("devices"))),
		fs.dir("class", fs.dir("block"), fs.dir("mem"), fs.dir("misc"), fs.dir("tty")),
		fs.dir("dev", fs.dir("block"), fs.dir("char")),
		fs.dir("devices", fs.dir("system", fs.processors(), fs.node()), fs.dir("virtual")),
		fs.dir("firmware"), fs.dir("fs", fs.dir("cgroup")),
		fs.dir("kernel", fs.dir("debug"), fs.dir("mm", fs.dir("hugepages"), fs.dir("transparent_hugepage",
			fs.value("enabled", "always madvise [never]"), fs.value("defrag", "always defer defer+madvise madvise [never]"), fs.value("hpage_pmd_size", "2097152"),
		)), fs.dir("security"), fs.dir("tracing", fs.tracing()...), fs.value("uevent_seqnum", "0")),
		fs.dir("module"), fs.dir("power"),
	}
}

// list is a range of numbers from 0 on: "0", "0-3".
func list(n int) string {
	if n == 1 {
		return "0"
	}
	return "0-" + strconv.Itoa(n-1)
}

// processors is devices/system/cpu. Each vCPU is a core of its own in one package.
func (fs *FS) processors() kernfs.Entry {
	all := list(fs.CPUs)
	entries := []kernfs.Entry{
		fs.value("kernel_max", "63"), fs.value("offline", ""), fs.value("online", all), fs.value("possible", all), fs.value("present", all), fs.value("isolated", ""),
		fs.value("modalias", "cpu:type:ringo"),
	}
	for cpu := range fs.CPUs {
		mask := fmt.Sprintf("%0*x", (fs.CPUs+3)/4, uint64(1)<<cpu)
		whole := fmt.Sprintf("%0*x", (fs.CPUs+3)/4, uint64(1)<<fs.CPUs-1)
		number := strconv.Itoa(cpu)
		own := []kernfs.Entry{fs.dir("topology",
			fs.value("core_id", number), fs.value("physical_package_id", "0"), fs.value("die_id", "0"), fs.value("cluster_id", "0"),
			fs.value("core_cpus", mask), fs.value("core_cpus_list", number), fs.value("thread_siblings", mask), fs.value("thread_siblings_list", number),
			fs.value("core_siblings", whole), fs.value("core_siblings_list", all), fs.value("package_cpus", whole), fs.value("package_cpus_list", all),
		), fs.link("node0", "../../node/node0")}
		if cpu > 0 {
			own = append(own, fs.value("online", "1")) // the first cannot be switched off
		}
		entries = append(entries, fs.dir("cpu"+number, own...))
	}
	return fs.dir("cpu", entries...)
}

// node is devices/system/node: all memory is in one.
func (fs *FS) node() kernfs.Entry {
	mask := fmt.Sprintf("%0*x", (fs.CPUs+3)/4, uint64(1)<<fs.CPUs-1)
	return fs.dir("node", fs.value("online", "0"), fs.value("possible", "0"), fs.value("has_cpu", "0"), fs.value("has_memory", "0"), fs.value("has_normal_memory", "0"),
		fs.dir("node0", fs.value("cpulist", list(fs.CPUs)), fs.value("cpumap", mask), fs.value("distance", "10"), fs.show("meminfo", func() string {
			total, free, _ := fs.Memory()
			return fmt.Sprintf("Node 0 MemTotal:       %8d kB\nNode 0 MemFree:        %8d kB\nNode 0 MemUsed:        %8d kB\n", total/1024, free/1024, (total-free)/1024)
		})))
}
