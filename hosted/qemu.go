package hosted

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// folder is the unpacked folder of QEMU and its libraries. Its programs run through its own dynamic loader, so nothing of the system's
// libraries is mixed in and no chroot (which needs root) is involved.
type folder struct {
	dir string
}

func folderOf(dir string) folder { return folder{dir} }

var loaders = map[string]struct{ loader, triplet string }{
	"amd64": {"usr/lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"},
	"arm64": {"usr/lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"},
}

// command returns a program of the folder, ready to start.
func (f folder) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	host := loaders[runtime.GOARCH]
	libraries := filepath.Join(f.dir, "usr/lib", host.triplet)
	all := append([]string{"--inhibit-cache", "--library-path", libraries, "--argv0", program, filepath.Join(f.dir, program)}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(f.dir, host.loader), all...)
	// QEMU would look for its modules beside /proc/self/exe, which is the loader.
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "QEMU_MODULE_DIR=" + filepath.Join(libraries, "qemu")}
	return cmd
}

// version returns QEMU's version line and fails when both emulators do not run or are too old.
func (f folder) version(ctx context.Context) (string, error) {
	line := ""
	for _, arch := range Arches {
		out, err := f.command(ctx, qemuMachines[arch].program, "--version").CombinedOutput()
		line, _, _ = strings.Cut(string(out), "\n")
		if err != nil {
			return "", fmt.Errorf("the downloaded %s does not run: %w: %s", qemuMachines[arch].program, err, lastLines(string(out), 4))
		}
		var major int
		if _, err := fmt.Sscanf(line, "QEMU emulator version %d.", &major); err != nil || major < oldestQEMU {
			return "", fmt.Errorf("need QEMU %d or newer, got %q", oldestQEMU, line)
		}
	}
	return line, nil
}

type qemuMachine struct {
	program string
	machine []string
	console string // the kernel's name of the first serial port
}

var qemuMachines = map[string]qemuMachine{
	"amd64": {
		program: "usr/bin/qemu-system-x86_64",
		// Without 5-level tables, walks of guest tables through nested tables are a third shorter. Without the promises of fast
		// string instructions, kernels clear and copy 8 bytes at a time instead of 1, which emulation takes eight times as long
		// for: clearing one huge page stalled a CPU for a second.
		machine: []string{"-machine", "q35,memory-backend=ram", "-cpu", "max,la57=off,erms=off,fsrm=off,fsrs=off,fzrm=off"},
		console: "ttyS0",
	},
	"arm64": {
		program: "usr/bin/qemu-system-aarch64",
		machine: []string{"-machine", "virt,virtualization=on,gic-version=3,memory-backend=ram", "-cpu", "cortex-a76"},
		console: "ttyAMA0",
	},
}

const (
	machineCPUs = 2
	// A machine's memory, in MiB. Only what is touched is taken from the outside.
	machineMemory = 4096
	// Waiting for hardware that an emulated machine has not got, mitigations against its neighbours, and watchdogs that would
	// fire when the outside is busy all cost time for nothing.
	kernelOptions = "panic=-1 mitigations=off nowatchdog rcupdate.rcu_cpu_stall_suppress=1 loglevel=6 tsc=reliable no_timer_check audit=0"
)

func kernelCommandLine(arch string) string {
	return strings.TrimSpace("console=" + qemuMachines[arch].console + " " + kernelOptions + " " + os.Getenv(EnvAppend))
}

// memoryMiB is machineMemory, or less on a computer that has not got twice as much.
func memoryMiB() int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return machineMemory
	}
	half := int(info.Totalram * uint64(info.Unit) >> 21)
	return max(512, min(machineMemory, half))
}

// qemuArguments describes the machine. Relative paths are in its run folder, which is the working folder; descriptor 3 is the
// commands' socket.
func qemuArguments(l layout, arch string) []string {
	m := qemuMachines[arch]
	memory := strconv.Itoa(memoryMiB())
	share := filepath.Join(l.qemu(), "usr", "share")
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-L", filepath.Join(share, "qemu"), "-L", filepath.Join(share, "seabios"),
		"-accel", "tcg,thread=multi",
		"-smp", strconv.Itoa(machineCPUs), "-m", memory + "M",
		// virtiofsd reads and writes the machine's memory itself.
		"-object", "memory-backend-memfd,id=ram,share=on,size=" + memory + "M",
		"-kernel", filepath.Join(l.kernel(arch), "vmlinuz"),
		"-initrd", filepath.Base(l.initramfs(arch)),
		"-append", kernelCommandLine(arch),
		"-chardev", "file,id=console,path=" + consoleName,
		"-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=commands,fd=3",
		"-device", "virtserialport,chardev=commands,name=ringo.hosted",
		"-chardev", "socket,id=files,path=" + filesSocket,
		"-device", "vhost-user-fs-pci,chardev=files,tag=outside,queue-size=1024",
	}
	return append(m.machine, args...)
}

// virtiofsdArguments shares the whole file tree; what a command may see of it, and whether it may write there, is decided by the
// agent's bind mounts. Nothing is cached inside, so a file that was just rebuilt outside is the one that runs.
func virtiofsdArguments() []string {
	// Its own default is a million, with a warning where that is not allowed.
	files := unix.Rlimit{Max: 4096}
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	return []string{
		"--rlimit-nofile=" + strconv.FormatUint(min(files.Max, 1_000_000), 10),
		"--socket-path=" + filesSocket, "--shared-dir=/", "--sandbox=none", "--seccomp=none",
		"--cache=never", "--allow-mmap", "--log-level=warn", "--inode-file-handles=never",
	}
}

// rotate keeps one older generation of a log.
func rotate(path string) error {
	err := os.Rename(path, path+".1")
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
