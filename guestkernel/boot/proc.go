package boot

import (
	"fmt"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/cgroupfs"
	"ringo/guestkernel/fs/devpts"
	"ringo/guestkernel/fs/devtmpfs"
	"ringo/guestkernel/fs/procfs"
	"ringo/guestkernel/fs/sysfs"
	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/ipc"
	"ringo/guestkernel/syscalls"
	"ringo/guestkernel/task"
	"ringo/guestkernel/tty"
	"ringo/guestkernel/vfs"
)

// System is what the filesystems that show the machine need to know of it.
type System struct {
	Tasks       *task.Kernel
	Terminals   *tty.Sessions // nil: there are none
	Memory      func() (total, free, cached uint64)
	CPUs        int
	CommandLine string
	Recorder    sysfs.Recorder // nil: there is none
}

// MountSystem makes the filesystems known to mount(2) and mounts /proc, which no init is there to mount.
func MountSystem(ns *vfs.Namespace, root RootConfig, s System) error {
	pages := func() int64 {
		total, _, _ := s.Memory()
		return int64(total / vfs.PageSize)
	}
	tmpfs.Register(root.Frames, root.Devices, pages)
	vfs.RegisterType(vfs.Type{Name: "devtmpfs", NoDev: true, New: func(vfs.Caller, string, string) (*vfs.Superblock, error) {
		return devtmpfs.New(devtmpfs.Options{Frames: root.Frames, Devices: root.Devices, Nodes: root.Nodes})
	}})
	ipc.RegisterQueues(func(c vfs.Caller) *ipc.Namespace {
		if t, ok := c.(*task.Task); ok {
			return t.IPC()
		}
		return s.Tasks.IPC()
	})
	sessions := s.Terminals
	if sessions == nil {
		sessions = tty.NewSessions()
	}
	c := procfs.Config{
		Tasks: s.Tasks, Terminals: sessions, Memory: s.Memory, CPUs: s.CPUs, CPUInfo: func() []byte { return cpuInfo(s.CPUs) },
		Release: syscalls.Release, Version: syscalls.Version, CommandLine: s.CommandLine,
	}
	procfs.Register(c)
	mount := func(sb *vfs.Superblock, path string, flags uintptr) error {
		caller := vfs.NewKernelCaller(ns.Root())
		defer caller.Close()
		p, err := vfs.Lookup(caller, vfs.AtCwd(caller), path, vfs.Follow)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if _, err := vfs.MountAt(sb, sb.FS.Type(), flags, p); err != nil {
			return fmt.Errorf("mounting %s: %w", path, err)
		}
		return nil
	}
	pts := devpts.New(root.Devices, s.Tasks, sessions)
	vfs.RegisterType(vfs.Type{Name: "devpts", NoDev: true, New: func(vfs.Caller, string, string) (*vfs.Superblock, error) { return pts, nil }})
	if err := mount(pts, "/dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC); err != nil {
		return err
	}
	system := sysfs.Register(sysfs.Config{CPUs: s.CPUs, Memory: s.Memory, Recorder: s.Recorder})
	groups := cgroupfs.Register(s.Tasks)
	if err := mount(system, "/sys", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC); err != nil {
		return err
	}
	if err := mount(groups, "/sys/fs/cgroup", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC); err != nil {
		return err
	}
	return mount(procfs.New(c, s.Tasks.FirstPIDNamespace()), "/proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC)
}

// cpuInfo is /proc/cpuinfo: one paragraph for each CPU.
func cpuInfo(cpus int) (b []byte) {
	for cpu := range cpus {
		b = fmt.Appendf(b, "processor\t: %d\nmodel name\t: Ringo virtual CPU (%s)\n\n", cpu, task.UnameMachine)
	}
	return b
}
