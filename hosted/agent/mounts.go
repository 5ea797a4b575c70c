package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// outside is where the whole file tree of the outside is mounted. No command sees it: stage.go binds what a command named.
const outside = "/outside"

// outsideTag is the virtiofs tag that the supervisor gives the device.
const outsideTag = "outside"

type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
	optional               bool // the kernel may lack it
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		if m.optional {
			return nil
		}
		return err
	}
	err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data)
	if err != nil && !m.optional {
		return fmt.Errorf("mount %s on %s: %w", m.fstype, m.target, err)
	}
	return nil
}

const noDev = unix.MS_NOSUID | unix.MS_NODEV

// mountSystem makes what every program needs, and the network's loopback.
func mountSystem() error {
	for _, m := range []mount{
		{"proc", "/proc", "proc", noDev | unix.MS_NOEXEC, "", false},
		{"sysfs", "/sys", "sysfs", noDev | unix.MS_NOEXEC, "", false},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755", false},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "ptmxmode=0666,mode=0620", false},
		{"tmpfs", "/dev/shm", "tmpfs", noDev, "mode=1777", false},
		{"tmpfs", "/tmp", "tmpfs", noDev, "mode=1777", false},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", noDev | unix.MS_NOEXEC, "", false},
		{"debugfs", "/sys/kernel/debug", "debugfs", noDev | unix.MS_NOEXEC, "", true},
		{"tracefs", "/sys/kernel/tracing", "tracefs", noDev | unix.MS_NOEXEC, "", true},
		{"bpf", "/sys/fs/bpf", "bpf", noDev | unix.MS_NOEXEC, "mode=0700", true},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	// Huge pages for programs and kernels: fewer page faults, in nested guests too. Not every kernel has them.
	if (mount{"tmpfs", execCache, "tmpfs", noDev, "mode=0755,huge=always", false}).do() != nil {
		if err := (mount{"tmpfs", execCache, "tmpfs", noDev, "mode=0755", false}).do(); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if err := unix.Sethostname([]byte("ringo-hosted")); err != nil {
		return fmt.Errorf("sethostname: %w", err)
	}
	// A page fault in a nested guest costs some 50 µs here: let monitors that ask have huge pages in guest RAM (a
	// memfd). A kernel without them boots slower guests.
	_ = os.WriteFile("/sys/kernel/mm/transparent_hugepage/shmem_enabled", []byte("advise"), 0)
	limit := unix.Rlimit{Cur: 1024, Max: 1 << 19}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("RLIMIT_NOFILE: %w", err)
	}
	return loopbackUp()
}

// mountLate mounts what may depend on modules.
func mountLate() error {
	return mount{outsideTag, outside, "virtiofs", noDev, "", false}.do()
}

// loadModules loads every file of dir in name order, which is the order of dependence.
func loadModules(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	commandLine, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	for _, f := range files {
		_, name, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), ".ko"), "-") // NN-name.ko
		if err := loadModule(f, moduleParameters(string(commandLine), name)); err != nil {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// moduleParameters takes "module.parameter=value" words from a kernel command line, as modprobe(8) does.
func moduleParameters(commandLine, module string) string {
	var parameters []string
	for word := range strings.FieldsSeq(commandLine) {
		owner, parameter, found := strings.Cut(word, ".")
		if found && strings.ReplaceAll(owner, "-", "_") == module {
			parameters = append(parameters, parameter)
		}
	}
	return strings.Join(parameters, " ")
}

func loadModule(file, parameters string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), parameters, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket for the loopback interface: %w", err)
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	return nil
}
