package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"ringo/hosted/wire"
)

// commands runs commands, any number at a time.
type commands struct {
	reaper *reaper
	next   atomic.Uint64
}

const groupRoot = "/sys/fs/cgroup"

func newCommands() (*commands, error) {
	// A command's group is a plain domain group; no controller is needed to kill it whole.
	if _, err := os.Stat(groupRoot + "/cgroup.controllers"); err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	return &commands{reaper: newReaper()}, nil
}

// command is one command's life.
type command struct {
	writer *wire.Writer
	pid    int
	group  string // its control group's folder
	stdin  *wire.Receiver
	stdout *wire.Sender
	stderr *wire.Sender // nil with a terminal
	tty    *os.File     // the master side, or nil

	cleanup []io.Closer
}

// serve runs the command that the connection asks for. It returns when the command and all it started are gone.
func (cs *commands) serve(in io.Reader, conn net.Conn) error {
	reader, writer := wire.NewReader(in), wire.NewWriter(conn)
	frame, err := reader.Read()
	if err != nil {
		return fmt.Errorf("command without a start: %w", err)
	}
	var start wire.Start
	if frame.Kind != wire.KindStart {
		return fmt.Errorf("%w: %v frame before start", wire.ErrProtocol, frame.Kind)
	}
	if err := json.Unmarshal(frame.Payload, &start); err != nil {
		return fmt.Errorf("%w: start frame: %w", wire.ErrProtocol, err)
	}
	if len(start.Argv) == 0 {
		return writer.WriteJSON(wire.KindExit, wire.Exit{Kind: wire.StartFailed, Error: "no command given"})
	}
	c := &command{writer: writer}
	defer c.close()
	exited, failure, err := cs.launch(c, &start)
	if err != nil {
		failure = &wire.Exit{Kind: wire.StartFailed, Error: err.Error()}
	}
	if failure != nil {
		return writer.WriteJSON(wire.KindExit, *failure)
	}
	return c.attend(reader, conn, exited)
}

// launch starts the command's stage and waits until it has become the command. A failure is what the stage reported.
func (cs *commands) launch(c *command, start *wire.Start) (exited <-chan syscall.WaitStatus, failure *wire.Exit, err error) {
	group, err := c.makeGroup(cs.next.Add(1))
	if err != nil {
		return nil, nil, err
	}
	defer group.Close()
	files, err := c.openStreams(start)
	if err != nil {
		return nil, nil, err
	}
	closeFiles := func() {
		for _, f := range files {
			f.Close()
		}
	}
	requestRead, requestWrite, err := os.Pipe()
	if err != nil {
		closeFiles()
		return nil, nil, err
	}
	defer requestWrite.Close()
	files = append(files, requestRead)
	answerRead, answerWrite, err := os.Pipe()
	if err != nil {
		closeFiles()
		return nil, nil, err
	}
	defer answerRead.Close()
	files = append(files, answerWrite)

	attr := &syscall.ProcAttr{
		Dir: "/",
		Sys: &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS, UseCgroupFD: true, CgroupFD: int(group.Fd())},
	}
	if start.Terminal {
		attr.Sys.Setctty, attr.Sys.Ctty = true, 0
	}
	for _, f := range files {
		fd := f.Fd()
		if err := unix.SetNonblock(int(fd), false); err != nil { // a program expects blocking standard streams
			closeFiles()
			return nil, nil, err
		}
		attr.Files = append(attr.Files, fd)
	}
	c.pid, exited, err = cs.reaper.start("/init", []string{"/init", stageArgument}, attr)
	closeFiles()
	if err != nil {
		return nil, nil, fmt.Errorf("start a process: %w", err)
	}
	// A stage that dies early makes this fail with EPIPE; its answer or its end says why.
	writeErr := json.NewEncoder(requestWrite).Encode(start)
	requestWrite.Close()
	var exit wire.Exit
	switch err := json.NewDecoder(answerRead).Decode(&exit); {
	case err == nil:
		<-exited
		return nil, &exit, nil
	case !errors.Is(err, io.EOF):
		return nil, nil, fmt.Errorf("the stage's answer: %w", err)
	case writeErr != nil:
		return nil, nil, fmt.Errorf("hand the command to its stage: %w", writeErr)
	}
	return exited, nil, nil
}

func (c *command) makeGroup(n uint64) (*os.File, error) {
	c.group = filepath.Join(groupRoot, "command-"+strconv.FormatUint(n, 10))
	if err := os.Mkdir(c.group, 0o755); err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	return os.Open(c.group)
}

// openStreams makes the command's standard streams, in the order of their descriptors.
func (c *command) openStreams(start *wire.Start) ([]*os.File, error) {
	c.stdin = wire.NewReceiver(c.writer, wire.KindStdin)
	c.stdout = wire.NewSender(c.writer, wire.KindStdout)
	if start.Terminal {
		return c.openTerminal(start)
	}
	c.stderr = wire.NewSender(c.writer, wire.KindStderr)
	var files []*os.File
	fail := func(err error) ([]*os.File, error) {
		for _, f := range files {
			f.Close()
		}
		return nil, err
	}
	if start.NoStdin {
		null, err := os.Open("/dev/null")
		if err != nil {
			return fail(err)
		}
		files = append(files, null)
	} else {
		r, w, err := os.Pipe()
		if err != nil {
			return fail(err)
		}
		files = append(files, r)
		c.cleanup = append(c.cleanup, w)
	}
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			return fail(err)
		}
		files = append(files, w)
		c.cleanup = append(c.cleanup, r)
	}
	return files, nil
}

// attend carries the running command's streams until it has ended or the client has gone, then removes what is left of it.
func (c *command) attend(reader *wire.Reader, conn net.Conn, exited <-chan syscall.WaitStatus) error {
	var outputs sync.WaitGroup
	send := func(s *wire.Sender, kind wire.Kind, from io.Reader) {
		outputs.Go(func() {
			buf := make([]byte, wire.MaxData)
			// A pipe ends with EOF, a pseudo-terminal with EIO; a lost client with a write error. All end the stream.
			_, _ = io.CopyBuffer(onlyWriter{s}, onlyReader{from}, buf)
			_ = c.writer.EOF(kind)
		})
	}
	switch {
	case c.tty != nil:
		send(c.stdout, wire.KindStdout, c.tty)
		go func() { _ = c.stdin.Copy(onlyWriter{c.tty}) }()
	default:
		ends := c.cleanup
		if len(ends) == 3 {
			stdin := ends[0]
			go func() {
				_ = c.stdin.Copy(stdin.(*os.File)) // EPIPE when the program closed it: the rest is dropped
				stdin.Close()
			}()
			ends = ends[1:]
		} else {
			go func() { _ = c.stdin.Copy(io.Discard) }()
		}
		send(c.stdout, wire.KindStdout, ends[0].(*os.File))
		send(c.stderr, wire.KindStderr, ends[1].(*os.File))
	}
	lost := make(chan error, 1)
	go func() { lost <- c.receive(reader) }()

	var status syscall.WaitStatus
	var gone error
	select {
	case status = <-exited:
	case gone = <-lost:
		c.killGroup()
		status = <-exited
	}
	// Nothing that the command started outlives it, so its output ends now.
	c.killGroup()
	if gone != nil {
		c.closeOutputs(conn)
		outputs.Wait()
		if errors.Is(gone, io.EOF) {
			return nil // a client that left: its command is gone, too
		}
		return fmt.Errorf("client of process %d: %w", c.pid, gone)
	}
	drained := make(chan struct{})
	go func() { outputs.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-lost:
		c.closeOutputs(conn)
		<-drained
		return nil
	}
	exit := wire.Exit{Status: status.ExitStatus()}
	if status.Signaled() {
		exit.Signal = int(status.Signal())
		exit.Status = 128 + exit.Signal
	}
	if err := c.writer.WriteJSON(wire.KindExit, exit); err != nil {
		return err
	}
	<-lost // the client closes when it has read the exit
	return nil
}

// closeOutputs ends waiting for a client that is gone.
func (c *command) closeOutputs(conn net.Conn) {
	c.stdout.Close()
	if c.stderr != nil {
		c.stderr.Close()
	}
	conn.Close()
}

type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

// receive handles the client's frames until the connection ends.
func (c *command) receive(reader *wire.Reader) error {
	defer c.stdin.End()
	for {
		frame, err := reader.Read()
		if err != nil {
			return err
		}
		switch frame.Kind {
		case wire.KindStdin:
			err = c.stdin.Put(frame.Payload)
		case wire.KindEOF:
			var kind wire.Kind
			if kind, err = wire.ParseEOF(frame.Payload); err == nil && kind == wire.KindStdin {
				c.endStdin()
			}
		case wire.KindCredit:
			err = c.grant(frame.Payload)
		case wire.KindSignal:
			var number int
			if number, err = wire.ParseSignal(frame.Payload); err == nil {
				c.signal(syscall.Signal(number))
			}
		case wire.KindResize:
			err = c.resize(frame.Payload)
		default:
			err = fmt.Errorf("%w: %v frame from a client", wire.ErrProtocol, frame.Kind)
		}
		if err != nil {
			return err
		}
	}
}

func (c *command) grant(payload []byte) error {
	kind, n, err := wire.ParseCredit(payload)
	switch {
	case err != nil:
		return err
	case kind == wire.KindStdout:
		return c.stdout.Grant(n)
	case kind == wire.KindStderr && c.stderr != nil:
		return c.stderr.Grant(n)
	}
	return fmt.Errorf("%w: credit for %v", wire.ErrProtocol, kind)
}

// signal sends what a terminal would send to the command's process group, and everything else to its process.
func (c *command) signal(s syscall.Signal) {
	target := c.pid
	switch s {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGTSTP, syscall.SIGCONT:
		target = -c.pid
	}
	// ESRCH: it has just ended, and its exit is on the way.
	_ = syscall.Kill(target, s)
}

// killGroup kills every process of the command's control group and waits until they are gone.
func (c *command) killGroup() {
	if err := os.WriteFile(c.group+"/cgroup.kill", []byte("1"), 0); err != nil {
		fmt.Printf("hosted-agent: kill the group of process %d: %v\n", c.pid, err)
	}
	c.waitEmpty()
}

// waitEmpty waits for the group's "populated 0" event (cgroup-v2, cgroup.events).
func (c *command) waitEmpty() {
	f, err := os.Open(c.group + "/cgroup.events")
	if err != nil {
		return
	}
	defer f.Close()
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
	for {
		var b [256]byte
		n, err := f.ReadAt(b[:], 0)
		if n == 0 && err != nil {
			return
		}
		if groupEmpty(string(b[:n])) {
			return
		}
		if _, err := unix.Poll(fds, 1000); err != nil && err != unix.EINTR {
			return
		}
	}
}

func (c *command) close() {
	for _, f := range c.cleanup {
		f.Close()
	}
	if c.group == "" {
		return
	}
	c.killGroup()
	if err := os.Remove(c.group); err != nil {
		fmt.Printf("hosted-agent: remove %s: %v\n", c.group, err)
	}
}
