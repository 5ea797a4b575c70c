package hosted

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"

	"ringo/hosted/wire"
)

// runMachine starts virtiofsd and QEMU, boots, and returns why they ended. No process of them is left then.
func (s *supervisor) runMachine() error {
	// PR_SET_PDEATHSIG means the parent thread: it must live as long as its children.
	runtime.LockOSThread()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	f := folderOf(s.l.qemu())
	died := make(chan death, 2)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	launch := func(name string, cmd *exec.Cmd) error {
		cmd.Dir, cmd.Stdout, cmd.Stderr = s.l.runDir(s.arch), os.Stderr, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		log.Printf("%s is process %d", name, cmd.Process.Pid)
		running.Go(func() {
			err := cmd.Wait()
			log.Printf("%s ended: %s", name, endOf(err))
			died <- death{name, fmt.Errorf("%s ended: %s", name, endOf(err))}
		})
		return nil
	}
	if err := launch(nameVirtiofsd, f.command(ctx, "usr/libexec/virtiofsd", virtiofsdArguments()...)); err != nil {
		return err
	}
	if err := waitSocket(ctx, filesSocket, died); err != nil {
		return err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer ours.Close()
	qemu := f.command(ctx, qemuMachines[s.arch].program, qemuArguments(s.l, s.arch)...)
	qemu.ExtraFiles = []*os.File{theirs}
	err = launch(nameQEMU, qemu)
	theirs.Close()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.qemu = qemu.Process.Pid
	s.mu.Unlock()
	up := make(chan error, 1)
	go func() { up <- s.greet(ours) }()
	timeout := time.NewTimer(bootTimeout)
	defer timeout.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case d := <-died:
			return rootCause(d, died)
		case err := <-up:
			if err != nil {
				return rootCause(death{"", err}, died)
			}
			timeout.Stop()
		case <-timeout.C:
			return fmt.Errorf("the machine did not boot within %v", bootTimeout)
		}
	}
}

// death is the end of one of the machine's processes.
type death struct {
	name string
	err  error
}

// rootCause finds what ended first when several things end together: virtiofsd leaves and the port closes when QEMU ends, so QEMU's end
// says more.
func rootCause(first death, died <-chan death) error {
	if first.name == nameQEMU {
		return first.err
	}
	timeout := time.After(2 * time.Second)
	for {
		select {
		case d := <-died:
			if d.name == nameQEMU {
				return d.err
			}
			first = d
		case <-timeout:
			return first.err
		}
	}
}

func endOf(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// greet opens the session with the agent, which answers when it is ready.
func (s *supervisor) greet(port net.Conn) error {
	session, err := yamux.Client(port, wire.SessionConfig())
	if err != nil {
		return err
	}
	stream, err := session.Open()
	if err != nil {
		return err
	}
	defer stream.Close()
	if err := writeLine(stream, wire.Hello{Op: wire.OpInfo}); err != nil {
		return fmt.Errorf("greet the agent: %w", err)
	}
	var info wire.Info
	if err := json.NewDecoder(stream).Decode(&info); err != nil {
		return fmt.Errorf("the agent's greeting: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.booted:
		return errStopped
	default:
	}
	s.session, s.info, s.boot = session, info, time.Since(s.start)
	s.lastUse = time.Now()
	close(s.booted)
	log.Printf("up after %v (agent ready %d ms after the kernel started), linux %s, kvm %q", s.boot, info.BootMS, info.Kernel, info.KVM)
	return nil
}

func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "commands")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	return conn, os.NewFile(uintptr(fds[1]), "commands of QEMU"), nil
}

// waitSocket waits for a daemon to make its socket.
func waitSocket(ctx context.Context, path string, died <-chan death) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case d := <-died:
			return d.err
		case <-time.After(2 * time.Millisecond):
		}
	}
}
