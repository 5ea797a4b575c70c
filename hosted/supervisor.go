package hosted

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/sys/unix"

	"ringo/hosted/wire"
)

const (
	// envServe, in the environment of this very program, makes it the supervisor of that architecture's machine.
	envServe     = "RINGO_HOSTED_SERVE"
	defaultIdle  = 20 * time.Minute
	bootTimeout  = 90 * time.Second
	readyMessage = "ready\n"

	nameQEMU      = "QEMU"
	nameVirtiofsd = "virtiofsd"
)

var maybeServeCalled bool

// MaybeServe must be called first thing in main by every program that uses this package, and in TestMain by tests that do: the
// supervisor of a machine is the program that started it, executed again. There MaybeServe does not return.
func MaybeServe() {
	maybeServeCalled = true
	arch := os.Getenv(envServe)
	if arch == "" {
		return
	}
	os.Unsetenv(envServe)
	if err := supervise(arch); err != nil {
		log.Printf("%v", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// supervisor owns one machine: its QEMU and virtiofsd processes and the port that all commands share.
type supervisor struct {
	l     layout
	arch  string
	stamp string
	limit time.Duration // idle
	start time.Time

	ctx    context.Context // ends with the machine
	cancel context.CancelCauseFunc
	booted chan struct{} // closed when session and info are set, or bootErr

	mu       sync.Mutex
	session  *yamux.Session // guarded by mu, like all below
	info     wire.Info
	bootErr  error
	boot     time.Duration
	qemu     int // process id
	ending   bool
	commands int
	served   int
	lastUse  time.Time
}

func supervise(arch string) error {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	ready := os.NewFile(3, "ready")
	syscall.CloseOnExec(3)
	fail := func(err error) error {
		fmt.Fprintf(ready, "%v", err)
		ready.Close()
		return err
	}
	l, err := newLayout()
	if err != nil {
		return fail(err)
	}
	if err := checkArch(arch); err != nil {
		return fail(err)
	}
	// Relative names keep socket paths short and the machine's command line readable.
	if err := os.Chdir(l.runDir(arch)); err != nil {
		return fail(err)
	}
	ctx, cancelWait := context.WithTimeout(context.Background(), 10*time.Second)
	owner, err := waitLock(ctx, l.ownerLock(arch), nil)
	cancelWait()
	if err != nil {
		return fail(fmt.Errorf("another supervisor owns this machine: %w", err))
	}
	defer owner.unlock()
	s, listener, err := newSupervisor(l, arch)
	if err != nil {
		return fail(err)
	}
	if _, err := ready.WriteString(readyMessage); err != nil {
		log.Printf("tell the starter: %v", err)
	}
	ready.Close()
	return s.serve(listener)
}

func newSupervisor(l layout, arch string) (*supervisor, net.Listener, error) {
	stamp, err := l.machineStamp(arch)
	if err != nil {
		return nil, nil, err
	}
	limit, err := idleLimit()
	if err != nil {
		return nil, nil, err
	}
	if err := writeInitramfs(l.initramfs(arch), l.agent(arch), filepath.Join(l.kernel(arch), "modules")); err != nil {
		return nil, nil, fmt.Errorf("initramfs: %w", err)
	}
	if err := rotate(consoleName); err != nil {
		return nil, nil, err
	}
	// We hold the owner lock: sockets that are here belong to nobody.
	for _, left := range []string{socketName, filesSocket, filesSocket + ".pid"} {
		if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, nil, err
		}
	}
	syscall.Umask(0o077)
	listener, err := listenHere(socketName)
	if err != nil {
		return nil, nil, err
	}
	s := &supervisor{l: l, arch: arch, stamp: stamp, limit: limit, start: time.Now(), lastUse: time.Now(), booted: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s, listener, nil
}

// listenHere makes a socket in the working folder; clients reach it through [dialSocket].
func listenHere(name string) (net.Listener, error) { return net.Listen("unix", name) }

func idleLimit() (time.Duration, error) {
	text := os.Getenv(EnvIdle)
	if text == "" {
		return defaultIdle, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%s=%q: want a positive duration like 20m", EnvIdle, text)
	}
	return d, nil
}

var (
	errStopped = errors.New("the machine was stopped")
	errIdle    = errors.New("the machine was idle")
)

// serve runs the machine until it is told to stop, is idle, or dies.
func (s *supervisor) serve(listener net.Listener) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	signal.Ignore(unix.SIGHUP)
	go func() {
		sig := <-signals
		s.end(fmt.Errorf("%w by signal %v", errStopped, sig))
	}()
	machineDown := make(chan struct{})
	go func() {
		defer close(machineDown)
		err := s.runMachine()
		s.fail(err)
		s.end(err)
	}()
	go s.endWhenIdle()
	var connections sync.WaitGroup
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				s.end(fmt.Errorf("accept: %w", err))
				return
			}
			connections.Go(func() {
				defer conn.Close()
				s.handle(conn)
			})
		}
	}()
	<-s.ctx.Done()
	<-machineDown
	// Whoever is turned away now must find no socket next time, and waits for the owner lock.
	listener.Close()
	answered := make(chan struct{})
	go func() { connections.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(5 * time.Second): // clients that neither read nor leave
	}
	cause := context.Cause(s.ctx)
	log.Printf("end: %v", cause)
	if errors.Is(cause, errStopped) || errors.Is(cause, errIdle) {
		return nil
	}
	return cause
}

// end makes the supervisor end for the given reason; the first reason counts.
func (s *supervisor) end(cause error) {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.cancel(cause)
}

// fail records why the machine did not come up, unless it did.
func (s *supervisor) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.booted:
	default:
		s.bootErr = err
		close(s.booted)
	}
}

func (s *supervisor) endWhenIdle() {
	tick := time.NewTicker(min(s.limit/4, 10*time.Second))
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		idle := s.commands == 0 && time.Since(s.lastUse) >= s.limit
		if idle {
			s.ending = true
		}
		s.mu.Unlock()
		if idle {
			s.end(fmt.Errorf("%w for %v", errIdle, s.limit))
			return
		}
	}
}

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

func (s *supervisor) handle(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 64<<10)
	var req request
	if err := readLine(in, &req); err != nil {
		if err != io.EOF {
			log.Printf("request: %v", err)
		}
		return
	}
	switch req.Op {
	case opStatus:
		status := s.status()
		_ = writeLine(conn, response{Code: codeOK, Status: &status})
	case opStop:
		_ = writeLine(conn, response{Code: codeOK})
		s.end(errStopped)
	case opRun:
		s.handleRun(conn, in, req)
	default:
		_ = writeLine(conn, response{Code: codeFailed, Error: fmt.Sprintf("unknown operation %q", req.Op)})
	}
}

func (s *supervisor) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Arch: s.arch, Running: true, State: "booting", PID: os.Getpid(), QEMU: s.qemu, Kernel: s.info.Kernel, KVM: s.info.KVM, Boot: s.boot,
		Up: time.Since(s.start), Commands: s.commands, Served: s.served, Limit: s.limit, Folder: s.l.runDir(s.arch),
	}
	if s.commands == 0 {
		st.Idle = time.Since(s.lastUse)
	}
	if s.session != nil {
		st.State = "up"
		if st.KVM == "" {
			st.KVM = "works"
		}
	}
	if s.ending {
		st.State = "ending"
	}
	stamp, err := s.l.machineStamp(s.arch)
	st.Current = err == nil && stamp == s.stamp
	return st
}

// admit decides about one more command. A machine that is not what would be started now serves on while it is busy and
// ends as soon as it is not.
func (s *supervisor) admit(req request) response {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ending:
		return response{Code: codeRetiring}
	case s.commands == 0 && (req.Stamp != s.stamp || req.Protocol != protocolVersion):
		s.ending = true
		return response{Code: codeRetiring}
	case req.Protocol != protocolVersion:
		return response{Code: codeBusy}
	}
	s.commands++
	s.served++
	return response{Code: codeOK}
}

func (s *supervisor) release() {
	s.mu.Lock()
	s.commands--
	s.lastUse = time.Now()
	s.mu.Unlock()
}

func (s *supervisor) handleRun(conn net.Conn, in *bufio.Reader, req request) {
	answer := s.admit(req)
	if answer.Code == codeRetiring {
		s.end(fmt.Errorf("%w: it is out of date", errStopped))
	}
	if answer.Code != codeOK {
		_ = writeLine(conn, answer)
		return
	}
	defer s.release()
	<-s.booted
	s.mu.Lock()
	session, bootErr := s.session, s.bootErr
	s.mu.Unlock()
	if bootErr != nil {
		if errors.Is(bootErr, errStopped) {
			_ = writeLine(conn, response{Code: codeRetiring})
			return
		}
		_ = writeLine(conn, response{Code: codeFailed, Error: bootErr.Error()})
		return
	}
	stream, err := session.Open()
	if err == nil {
		defer stream.Close()
		err = writeLine(stream, wire.Hello{Op: wire.OpRun})
	}
	if err != nil {
		// The machine has died since; the next one may live.
		s.end(fmt.Errorf("the machine's port: %w", err))
		_ = writeLine(conn, response{Code: codeRetiring})
		return
	}
	if err := writeLine(conn, response{Code: codeOK}); err != nil {
		return
	}
	splice(conn, in, stream)
}

// splice copies between a client and the agent until both directions have ended. A client that has gone ends its stream, so the
// agent ends its command; an agent that has gone ends the client's connection.
func splice(conn net.Conn, in io.Reader, stream net.Conn) {
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(stream, in)
		stream.Close()
	})
	_, _ = io.Copy(conn, stream)
	conn.Close()
	up.Wait()
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
