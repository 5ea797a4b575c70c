// Command agent is PID 1 of the hosted machine: the only program in its initramfs. It mounts the file systems a KVM host needs, loads
// the KVM modules, and then serves commands over one virtio-serial port that a yamux session divides into streams, one a command.
//
// Every command runs in a control group, a session and a mount namespace of its own: the group so that nothing it started
// outlives it, the namespace because each command names its own folders of the outside. Process and user namespaces are
// the machine's: a process id seen inside is the one that tracepoints and eBPF see.
//
// The same program, re-executed, is the short stage between clone and a command (stage.go).
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hashicorp/yamux"

	"ringo/hosted/wire"
)

// portName is the virtio-serial port that the supervisor gives the machine.
const portName = "ringo.hosted"

func main() {
	if len(os.Args) == 2 && os.Args[1] == stageArgument {
		stage()
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "hosted-agent is PID 1 of the hosted machine; it has nothing to do here. See docs/hosted.md.")
		os.Exit(2)
	}
	fmt.Fprintf(os.Stderr, "hosted-agent: FATAL: %v\n", serve())
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintf(os.Stderr, "hosted-agent: cannot power off: %v\n", err)
	}
}

// serve returns only when the machine cannot go on.
func serve() error {
	if err := mountSystem(); err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	if err := mountLate(); err != nil {
		return err
	}
	commands, err := newCommands()
	if err != nil {
		return err
	}
	port, err := openPort(portName)
	if err != nil {
		return err
	}
	session, err := yamux.Server(port, wire.SessionConfig())
	if err != nil {
		return err
	}
	info := machineInfo()
	fmt.Printf("hosted-agent: ready %d ms after the kernel started, kvm: %s\n", info.BootMS, orWorks(info.KVM))
	for {
		stream, err := session.Accept()
		if err != nil {
			return fmt.Errorf("the supervisor outside is gone: %w", err)
		}
		go func() {
			defer stream.Close()
			if err := serveStream(stream, commands, info); err != nil {
				fmt.Printf("hosted-agent: %v\n", err)
			}
		}()
	}
}

func serveStream(stream net.Conn, commands *commands, info wire.Info) error {
	in := bufio.NewReaderSize(stream, 64<<10)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("stream without a hello: %w", err)
	}
	var hello wire.Hello
	if err := json.Unmarshal(line, &hello); err != nil {
		return fmt.Errorf("hello %q: %w", line, err)
	}
	switch hello.Op {
	case wire.OpInfo:
		info.UptimeMS = uptimeMS()
		return json.NewEncoder(stream).Encode(info)
	case wire.OpRun:
		return commands.serve(in, stream)
	default:
		return fmt.Errorf("hello with unknown operation %q", hello.Op)
	}
}

func orWorks(s string) string {
	if s == "" {
		return "works"
	}
	return s
}

func machineInfo() wire.Info {
	info := wire.Info{BootMS: uptimeMS()}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		info.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	if err := holdKVM(); err != nil {
		info.KVM = err.Error()
	}
	return info
}

func uptimeMS() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return ts.Nano() / 1e6
}

// openPort waits for the virtio-serial port of that name. Its device is made by the kernel, which may still be probing.
func openPort(name string) (io.ReadWriteCloser, error) {
	deadline := time.Now().Add(20 * time.Second)
	for {
		ports, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, p := range ports {
			b, err := os.ReadFile(p)
			if err == nil && strings.TrimSpace(string(b)) == name {
				f, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(p)), os.O_RDWR, 0)
				if err == nil || !errors.Is(err, os.ErrNotExist) {
					return f, err
				}
			}
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no virtio-serial port named %s among %d ports", name, len(ports))
		}
		// Port discovery has no file to wait on before udev; the kernel normally has it done long before.
		time.Sleep(5 * time.Millisecond)
	}
}
