// Package cli holds the commands about hosted machines, for the programs that offer them: hosted itself, and vmm.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"ringo/hosted"
)

// Commands is a kong command set. The program's main must have called hosted.MaybeServe.
type Commands struct {
	Prepare    prepareCmd `cmd:"" help:"Download and build what machines need. A second time takes milliseconds and no network."`
	Run        runCmd     `cmd:"" help:"Run a command inside a machine; prepares and boots it if needed."`
	Stop       stopCmd    `cmd:"" help:"Stop machines with everything that runs in them."`
	Status     statusCmd  `cmd:"" help:"Tell which machines run."`
	ConsoleLog consoleCmd `cmd:"" help:"Print a machine's console."`
}

// Failed is the exit status of hosted itself failing, as of env(1).
const Failed = 125

// ExitStatus is the error of a command that ran and ended with a status other than 0.
type ExitStatus int

func (e ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// StatusOf returns the exit status that an error of a command stands for, and whether there is something to tell the user.
func StatusOf(err error) (status int, tell bool) {
	var exit ExitStatus
	var start *hosted.StartError
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &exit):
		return int(exit), false
	case errors.As(err, &start):
		return start.Status, true
	}
	return Failed, true
}

type prepareCmd struct {
	Arch []string `help:"amd64 or arm64; both if not given." default:"amd64,arm64" enum:"amd64,arm64"`
}

func (c *prepareCmd) Run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer cancel()
	for _, arch := range c.Arch {
		if err := hosted.Prepare(ctx, arch, os.Stderr); err != nil {
			return err
		}
	}
	return nil
}

type runCmd struct {
	Arch   string   `help:"amd64 or arm64." default:"amd64" enum:"amd64,arm64"`
	Share  []string `help:"A folder or file of the outside to see read-only at the same path." placeholder:"PATH" sep:"none"`
	Write  []string `help:"The same, writable." placeholder:"PATH" sep:"none"`
	Env    []string `help:"NAME=VALUE, or NAME to pass on, in the command's environment." short:"e" sep:"none"`
	Dir    string   `help:"Working folder inside." short:"C"`
	System bool     `help:"Also show the outside's /usr, /bin, /lib, /lib64, /sbin and /etc, read-only: for its tools, on a machine of the same architecture."`
	TTY    string   `help:"Give the command a terminal: auto, yes or no." default:"auto" enum:"auto,yes,no"`
	Quiet  bool     `help:"Do not report progress." short:"q"`

	Command []string `arg:"" passthrough:"" help:"The command and its arguments." name:"command"`
}

func (c *runCmd) Run() error {
	argv := c.Command
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	command := hosted.Command{Argv: argv, Dir: c.Dir, Env: hosted.DefaultEnv(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	for _, e := range c.Env {
		if !strings.Contains(e, "=") {
			value, ok := os.LookupEnv(e)
			if !ok {
				continue
			}
			e += "=" + value
		}
		command.Env = append(command.Env, e)
	}
	for _, p := range c.Share {
		command.Shares = append(command.Shares, hosted.Share{Path: p})
	}
	for _, p := range c.Write {
		command.Shares = append(command.Shares, hosted.Share{Path: p, Write: true})
	}
	if c.System {
		for _, p := range []string{"/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc"} {
			if _, err := os.Stat(p); err == nil {
				command.Shares = append(command.Shares, hosted.Share{Path: p})
			}
		}
	}
	var progress io.Writer = os.Stderr
	if c.Quiet {
		progress = nil
	}
	return RunAttached(context.Background(), c.Arch, c.TTY, command, progress)
}

// RunAttached runs a command inside the machine of that architecture with this process'
// terminal, if tty ("auto", "yes" or "no") allows it, and its signals. Its error is an ExitStatus when the
// command ended with a status other than 0.
func RunAttached(ctx context.Context, arch, tty string, command hosted.Command, progress io.Writer) error {
	machine, err := hosted.Open(ctx, arch, progress)
	if err != nil {
		return err
	}
	status, err := attach(ctx, machine, tty, &command)
	if err != nil {
		return err
	}
	if status != 0 {
		return ExitStatus(status)
	}
	return nil
}

// attach connects the command to this process' terminal and signals.
func attach(ctx context.Context, machine *hosted.Machine, tty string, command *hosted.Command) (int, error) {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	terminal := term.IsTerminal(in) && term.IsTerminal(out)
	command.TTY = tty == "yes" || tty == "auto" && terminal
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	command.Signals = signals
	restore := func() {}
	defer func() { restore() }()
	if command.TTY && terminal {
		sizes := make(chan hosted.Size, 1)
		changed := make(chan os.Signal, 1)
		signal.Notify(changed, unix.SIGWINCH)
		defer signal.Stop(changed)
		size := func() hosted.Size {
			columns, rows, err := term.GetSize(out)
			if err != nil {
				return hosted.Size{Rows: 24, Columns: 80}
			}
			return hosted.Size{Rows: uint16(rows), Columns: uint16(columns)}
		}
		command.Size, command.Resize = size(), sizes
		done := make(chan struct{})
		defer close(done)
		go func() {
			for {
				select {
				case <-done:
					return
				case <-changed:
					select {
					case sizes <- size():
					case <-done:
						return
					}
				}
			}
		}()
		// Not before: until then Ctrl-C is for us, and progress lines need a terminal that makes carriage returns.
		command.Started = func() {
			if state, err := term.MakeRaw(in); err == nil {
				restore = func() { _ = term.Restore(in, state) }
			}
		}
	}
	return machine.Run(ctx, *command)
}

type stopCmd struct {
	Arch []string `help:"amd64 or arm64; both if not given." default:"amd64,arm64" enum:"amd64,arm64"`
}

func (c *stopCmd) Run() error {
	for _, arch := range c.Arch {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		was, err := hosted.Stop(ctx, arch)
		cancel()
		switch {
		case err != nil:
			return fmt.Errorf("stop the %s machine: %w", arch, err)
		case was:
			fmt.Printf("the %s machine is stopped\n", arch)
		default:
			fmt.Printf("the %s machine was not running\n", arch)
		}
	}
	return nil
}

type statusCmd struct{}

func (c *statusCmd) Run() error {
	for _, arch := range hosted.Arches {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		s, err := hosted.QueryStatus(ctx, arch)
		cancel()
		if err != nil {
			return fmt.Errorf("ask the %s machine: %w", arch, err)
		}
		if !s.Running {
			fmt.Printf("%s: not running (logs in %s)\n", arch, s.Folder)
			continue
		}
		fmt.Printf("%s: %s since %v, booted in %v, linux %s, kvm %s, %d commands now, %d in all, supervisor %d\n", arch, s.State,
			s.Up.Round(time.Second), s.Boot.Round(time.Millisecond), s.Kernel, s.KVM, s.Commands, s.Served, s.PID)
		if s.Commands == 0 {
			fmt.Printf("    idle for %v of %v\n", s.Idle.Round(time.Second), s.Limit)
		}
		if !s.Current {
			fmt.Println("    out of date: the next command on an idle machine restarts it")
		}
		fmt.Printf("    logs in %s\n", s.Folder)
	}
	return nil
}

type consoleCmd struct {
	Arch string `help:"amd64 or arm64." default:"amd64" enum:"amd64,arm64"`
}

func (c *consoleCmd) Run() error {
	path, err := hosted.ConsoleLog(c.Arch)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the %s machine was never started: %w", c.Arch, err)
	}
	defer f.Close()
	_, err = io.Copy(os.Stdout, f)
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
