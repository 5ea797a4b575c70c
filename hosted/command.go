package hosted

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"ringo/hosted/wire"
)

// Command is a command to run inside a machine.
type Command struct {
	Argv []string // Argv[0] is a path, relative to Dir or absolute, or a name to look up in the PATH of Env
	Env  []string // the whole environment; nil means DefaultEnv
	Dir  string   // working folder; "" means the current one if it is visible inside, else /

	Stdin  io.Reader // nil means /dev/null
	Stdout io.Writer // nil means discard
	Stderr io.Writer // nil means discard; unused with TTY

	// TTY gives the command a terminal. Its output arrives on Stdout. Size is the terminal's at first, Resize its later ones.
	TTY    bool
	Size   Size
	Resize <-chan Size

	// Started, if set, is called when the machine is up and the command is about to start: not at all if Run fails before.
	Started func()

	// Signals are forwarded. While the machine still boots, INT, TERM, HUP and QUIT end Run as if the command had died of them. Those that a terminal would send (INT, QUIT, HUP, TSTP, CONT) go to the command's process group.
	Signals <-chan os.Signal

	// Shares are folders and files of the outside that the command sees besides the project folder, which it always sees read-only.
	Shares []Share

	// FromMemory are visible files that the command reads whole, such as a guest's kernel: the machine keeps a copy in memory between
	// commands, as it does with programs. A file that has changed outside is read anew. What does not exist is skipped.
	FromMemory []string
}

// Size is a terminal's size in cells.
type Size struct{ Rows, Columns uint16 }

// Share is a folder or file of the outside that a command sees at the same path. It must exist.
type Share struct {
	Path  string
	Write bool
}

// DefaultEnv is the environment of a command that names none.
func DefaultEnv() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LANG=C.UTF-8"}
	if t := os.Getenv("TERM"); t != "" {
		env = append(env, "TERM="+t)
	}
	return env
}

// StartError says that a command could not be started inside. Status is what a shell would answer: 127 not found, 126 not executable.
type StartError struct {
	Status int
	Reason string
}

func (e *StartError) Error() string { return e.Reason }

// ErrMachineLost is wrapped when the machine went away under a running command.
var ErrMachineLost = errors.New("the hosted machine went away")

// Run runs a command and returns its exit status, 128 + the signal's number if it died of one. When ctx ends, the command and
// everything it started are killed, and the error is the context's.
func (m *Machine) Run(ctx context.Context, c Command) (int, error) {
	start, err := m.startOf(c)
	if err != nil {
		return 0, err
	}
	conn, in, err := m.connectUnlessSignalled(ctx, c.Signals)
	var signalled diedOf
	if errors.As(err, &signalled) {
		return 128 + int(signalled), nil
	}
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if c.Started != nil {
		c.Started()
	}
	// Closing the connection is what kills the command, so ctx needs no other messenger.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	exit, err := carry(conn, in, &c, start)
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case err != nil:
		return 0, fmt.Errorf("%w: %w%s", ErrMachineLost, err, m.l.diagnosis(m.arch))
	case exit.Error != "":
		status := map[string]int{wire.StartNotFound: 127, wire.StartNotExecutable: 126}[exit.Kind]
		if status == 0 {
			status = 125
		}
		return status, &StartError{Status: status, Reason: exit.Error}
	}
	return exit.Status, nil
}

// diedOf is the end of a command by a signal before it began.
type diedOf syscall.Signal

func (d diedOf) Error() string { return syscall.Signal(d).String() }

// connectUnlessSignalled is connect, given up at a signal that would end the command.
func (m *Machine) connectUnlessSignalled(ctx context.Context, signals <-chan os.Signal) (net.Conn, *bufio.Reader, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watcher sync.WaitGroup
	defer watcher.Wait() // so that it takes no signal that is the command's
	defer cancel(nil)
	watcher.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s, ok := <-signals:
				if !ok {
					return
				}
				switch s {
				case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
					cancel(diedOf(s.(syscall.Signal)))
					return
				}
			}
		}
	})
	conn, in, err := m.connect(ctx)
	if err == nil && ctx.Err() != nil {
		conn.Close()
		return nil, nil, context.Cause(ctx)
	}
	return conn, in, err
}

// Run opens the machine of that architecture and runs a command in it.
func Run(ctx context.Context, arch string, c Command, progress io.Writer) (int, error) {
	m, err := Open(ctx, arch, progress)
	if err != nil {
		return 0, err
	}
	return m.Run(ctx, c)
}

func (m *Machine) startOf(c Command) (wire.Start, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return wire.Start{}, errors.New("no command given")
	}
	for _, s := range slices.Concat(c.Argv, c.Env) {
		if strings.ContainsRune(s, 0) {
			return wire.Start{}, fmt.Errorf("argument or environment %q holds a NUL byte", s)
		}
	}
	start := wire.Start{Argv: c.Argv, Env: c.Env, Dir: c.Dir, Terminal: c.TTY, Rows: c.Size.Rows, Columns: c.Size.Columns, NoStdin: c.Stdin == nil, Memory: c.FromMemory}
	if start.Env == nil {
		start.Env = DefaultEnv()
	}
	var err error
	if start.Shares, err = resolveShares(append([]Share{{Path: m.l.root}}, c.Shares...)); err != nil {
		return wire.Start{}, err
	}
	if start.Dir == "" {
		if wd, err := os.Getwd(); err == nil && visible(start.Shares, wd) {
			start.Dir = wd
		} else {
			start.Dir = "/"
		}
	}
	if !filepath.IsAbs(start.Dir) {
		return wire.Start{}, fmt.Errorf("working folder %q is not absolute", start.Dir)
	}
	return start, nil
}

// reserved are the trees that the machine has of its own.
var reserved = []string{"/dev", "/proc", "/sys"}

// resolveShares checks shares and finds what they stand for outside. A path that is named twice is writable if one of the two says so.
func resolveShares(shares []Share) ([]wire.Share, error) {
	var resolved []wire.Share
	for _, s := range shares {
		path, err := filepath.Abs(s.Path)
		if err != nil {
			return nil, err
		}
		source, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, fmt.Errorf("share %s: %w", s.Path, err)
		}
		info, err := os.Stat(source)
		if err != nil {
			return nil, fmt.Errorf("share %s: %w", s.Path, err)
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("share %s: is neither a folder nor a regular file", s.Path)
		}
		for _, tree := range append(reserved, "/") {
			if path == tree || tree != "/" && strings.HasPrefix(path, tree+"/") {
				return nil, fmt.Errorf("share %s: the hosted machine has a %s of its own", s.Path, tree)
			}
		}
		same := slices.IndexFunc(resolved, func(r wire.Share) bool { return r.Path == path })
		if same >= 0 {
			resolved[same].Write = resolved[same].Write || s.Write
			continue
		}
		resolved = append(resolved, wire.Share{Path: path, Source: source, Write: s.Write, Folder: info.IsDir()})
	}
	return resolved, nil
}

func visible(shares []wire.Share, path string) bool {
	for _, s := range shares {
		if path == s.Path || strings.HasPrefix(path, s.Path+"/") {
			return true
		}
	}
	return false
}

// carry speaks the wire protocol for one command.
func carry(conn net.Conn, in io.Reader, c *Command, start wire.Start) (wire.Exit, error) {
	reader, writer := wire.NewReader(in), wire.NewWriter(conn)
	if err := writer.WriteJSON(wire.KindStart, start); err != nil {
		return wire.Exit{}, err
	}
	stdin := wire.NewSender(writer, wire.KindStdin)
	stdout, stderr := wire.NewReceiver(writer, wire.KindStdout), wire.NewReceiver(writer, wire.KindStderr)
	done := make(chan struct{})
	defer close(done)
	defer stdin.Close()
	if c.Stdin != nil {
		go feed(stdin, writer, c)
	}
	go forward(writer, c, done)
	var outputs sync.WaitGroup
	for _, o := range []struct {
		from *wire.Receiver
		to   io.Writer
	}{{stdout, c.Stdout}, {stderr, c.Stderr}} {
		to := o.to
		if to == nil {
			to = io.Discard
		}
		outputs.Go(func() { _ = o.from.Copy(to) }) // a writer that fails loses the rest, as a closed pipe would
	}
	exit, err := receive(reader, stdin, stdout, stderr)
	// All output precedes the exit; after an error, what has arrived is still delivered.
	stdout.End()
	stderr.End()
	outputs.Wait()
	return exit, err
}

// receive handles the agent's frames up to the exit.
func receive(reader *wire.Reader, stdin *wire.Sender, stdout, stderr *wire.Receiver) (wire.Exit, error) {
	output := func(k wire.Kind) *wire.Receiver {
		switch k {
		case wire.KindStdout:
			return stdout
		case wire.KindStderr:
			return stderr
		}
		return nil
	}
	for {
		frame, err := reader.Read()
		if err != nil {
			return wire.Exit{}, err
		}
		switch frame.Kind {
		case wire.KindStdout, wire.KindStderr:
			err = output(frame.Kind).Put(frame.Payload)
		case wire.KindEOF:
			var kind wire.Kind
			if kind, err = wire.ParseEOF(frame.Payload); err == nil {
				if r := output(kind); r != nil {
					r.End()
				}
			}
		case wire.KindCredit:
			var n int
			if _, n, err = wire.ParseCredit(frame.Payload); err == nil {
				err = stdin.Grant(n)
			}
		case wire.KindExit:
			var exit wire.Exit
			if err := json.Unmarshal(frame.Payload, &exit); err != nil {
				return wire.Exit{}, fmt.Errorf("%w: exit frame: %w", wire.ErrProtocol, err)
			}
			return exit, nil
		default:
			err = fmt.Errorf("%w: %v frame from the agent", wire.ErrProtocol, frame.Kind)
		}
		if err != nil {
			return wire.Exit{}, err
		}
	}
}

// feed sends standard input and its end. It may stay in a Read of c.Stdin after the command has ended, as a local command's would.
func feed(stdin *wire.Sender, writer *wire.Writer, c *Command) {
	buf := make([]byte, wire.MaxData)
	for {
		n, err := c.Stdin.Read(buf)
		if n > 0 {
			if _, err := stdin.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if c.TTY {
				const endOfFile = 4 // VEOF, control-D: a terminal has no other end
				_, _ = stdin.Write([]byte{endOfFile})
				return
			}
			_ = writer.EOF(wire.KindStdin)
			return
		}
	}
}

// forward sends signals and terminal sizes. A lost connection is reported by the reading side.
func forward(writer *wire.Writer, c *Command, done <-chan struct{}) {
	signals, sizes := c.Signals, c.Resize
	for {
		select {
		case <-done:
			return
		case s, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			if number, ok := s.(syscall.Signal); ok {
				_ = writer.Signal(int(number))
			}
		case size, ok := <-sizes:
			if !ok {
				sizes = nil
				continue
			}
			_ = writer.Resize(size.Rows, size.Columns)
		}
	}
}
