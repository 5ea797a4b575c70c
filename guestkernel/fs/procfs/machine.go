package procfs

import (
	"fmt"
	"strings"

	"ringo/guestkernel/vfs"
)

// machine are files of /proc that tell of the machine beside what New makes.
func (fs *FS) machine(m *maker) []entry {
	show := func(name string, f func() string) entry { return m.text(name, 0o444, plain(f), nil) }
	return []entry{
		show("cgroups", func() string {
			return fmt.Sprintf("#subsys_name\thierarchy\tnum_cgroups\tenabled\npids\t0\t%d\t1\n", fs.Tasks.RootCgroup().State().Below+1)
		}),
		show("devices", func() string {
			return "Character devices:\n  1 mem\n  4 /dev/vc/0\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n"
		}),
		show("diskstats", func() string { return "" }),
		show("interrupts", func() string {
			var b strings.Builder
			b.WriteString("    ")
			for cpu := range fs.CPUs {
				fmt.Fprintf(&b, "       CPU%-1d", cpu)
			}
			return b.String() + "\n"
		}),
		show("locks", func() string { return "" }),
		show("misc", func() string { return "" }),
		show("modules", func() string { return "" }),
		show("vmstat", func() string {
			total, free, cached := fs.Memory()
			return fmt.Sprintf("nr_free_pages %d\nnr_file_pages %d\nnr_shmem %d\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\nnr_memory_pages %d\n", free/vfs.PageSize, cached/vfs.PageSize, cached/vfs.PageSize, total/vfs.PageSize)
		}),
	}
}

// bootID is /proc/sys/kernel/random/boot_id.
func (fs *FS) bootID() string {
	fs.once.Do(func() { fs.boot = fs.uuid() })
	return fs.boot
}

// uuid is a random UUID of version 4.
func (fs *FS) uuid() string {
	hi, lo := fs.Tasks.Random(), fs.Tasks.Random()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}

// kernelValues are files of /proc/sys/kernel beside what sysctl has.
func (fs *FS) kernelValues(m *maker) []entry {
	value := func(name, v string) entry { return m.text(name, 0o444, plain(func() string { return v + "\n" }), nil) }
	show := func(name string, f func() string) entry { return m.text(name, 0o444, plain(f), nil) }
	return []entry{
		value("core_pattern", "core"), value("core_pipe_limit", "0"), value("core_uses_pid", "0"), value("dmesg_restrict", "0"), value("kptr_restrict", "0"),
		value("modules_disabled", "1"), value("panic", "0"), value("panic_on_oops", "0"), value("perf_event_paranoid", "2"), value("printk", "7\t4\t1\t7"),
		value("sched_child_runs_first", "0"), value("tainted", "0"), value("sysrq", "0"), value("unprivileged_bpf_disabled", "2"),
		show("ns_last_pid", func() string { return fmt.Sprintln(fs.Tasks.LastNumber(fs.ns)) }),
		m.dir("pty", 0o555, fixed(value("max", "4096"), value("reserve", "1024")), nil, nil),
		m.dir("random", 0o555, fixed(
			show("boot_id", func() string { return fs.bootID() + "\n" }), show("uuid", func() string { return fs.uuid() + "\n" }),
			value("entropy_avail", "256"), value("poolsize", "256"),
		), nil, nil),
		m.dir("seccomp", 0o555, fixed(
			value("actions_avail", "kill_process kill_thread trap errno trace log allow"), value("actions_logged", "kill_process kill_thread trap errno trace log"),
		), nil, nil),
	}
}

// vmValues is /proc/sys/vm, fsValues /proc/sys/fs.
func (fs *FS) vmValues(m *maker) []entry {
	value := func(name, v string) entry { return m.text(name, 0o444, plain(func() string { return v + "\n" }), nil) }
	return []entry{
		value("overcommit_memory", "0"), value("overcommit_ratio", "50"), value("overcommit_kbytes", "0"), value("max_map_count", "65530"), value("mmap_min_addr", "65536"),
		value("swappiness", "60"), value("dirty_ratio", "20"), value("dirty_background_ratio", "10"), value("page-cluster", "3"), value("panic_on_oom", "0"),
		value("nr_hugepages", "0"), value("min_free_kbytes", "4096"), value("vfs_cache_pressure", "100"), value("oom_kill_allocating_task", "0"),
	}
}

func (fs *FS) fsValues(m *maker) []entry {
	value := func(name, v string) entry { return m.text(name, 0o444, plain(func() string { return v + "\n" }), nil) }
	return []entry{
		value("file-max", "9223372036854775807"), value("nr_open", "1048576"), value("pipe-max-size", "1048576"), value("protected_hardlinks", "1"), value("protected_symlinks", "0"),
		value("protected_fifos", "0"), value("protected_regular", "0"), value("suid_dumpable", "0"), value("overflowuid", "65534"), value("overflowgid", "65534"),
		value("pipe-user-pages-hard", "0"), value("pipe-user-pages-soft", "16384"), value("mount-max", "100000"), value("leases-enable", "0"), value("lease-break-time", "45"),
		value("aio-max-nr", "0"), value("aio-nr", "0"),
		m.dir("inotify", 0o555, fixed(value("max_queued_events", "16384"), value("max_user_instances", "128"), value("max_user_watches", "65536")), nil, nil),
		m.dir("epoll", 0o555, fixed(value("max_user_watches", "1048576")), nil, nil),
	}
}

// userValues is /proc/sys/user: nothing but memory bounds the number of namespaces.
func (fs *FS) userValues(m *maker) []entry {
	var list []entry
	for _, kind := range []string{"cgroup", "ipc", "mnt", "pid", "user", "uts"} {
		list = append(list, m.text("max_"+kind+"_namespaces", 0o444, plain(func() string { return "2147483647\n" }), nil))
	}
	for _, kind := range []string{"net", "time"} {
		list = append(list, m.text("max_"+kind+"_namespaces", 0o444, plain(func() string { return "0\n" }), nil))
	}
	return list
}
