package hosted

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
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
		if _, err := os.Lstat(filepath.Join(s.l.runDir(s.arch), socketName)); err != nil {
			// Nobody could reach this machine again, not even to stop it.
			s.end(fmt.Errorf("%w: its run folder was removed: %w", errStopped, err))
			return
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
