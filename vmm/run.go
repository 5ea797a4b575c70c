package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringo/debug/stackguard"
	"ringo/debug/watch"
	"ringo/vmm/console"
	"ringo/vmm/control"
	"ringo/vmm/guest"
)

type runCommand struct {
	Name    string           `placeholder:"NAME" help:"Name for ps, attach, bt and the other commands about a running guest; the default is guest-1 or the next that is free."`
	GDB     string           `name:"gdb" placeholder:"ADDR|unix:PATH" help:"Let gdb attach here (a TCP address like :1234 or localhost:1234, or unix:PATH); see also vmm gdb."`
	Wait    bool             `help:"Do not run the guest before a debugger lets it."`
	Arch    string           `enum:"amd64,arm64" default:"${arch}" help:"Guest architecture: ${enum}."`
	CPUs    int              `name:"cpus" default:"1" help:"Number of virtual CPUs, 1 to ${maxcpus}."`
	Mem     size             `default:"256M" help:"Guest memory, like 256M or 2G."`
	Kernel  string           `placeholder:"ELF" help:"Kernel; the default is ringo.elf beside this command."`
	Initrd  *string          `placeholder:"CPIO" help:"Initramfs; the default is initramfs.cpio beside this command, none with an empty name."`
	Add     []guest.Addition `placeholder:"HOST:GUEST" sep:"none" help:"Put a file or folder of the host into the guest's root file system. May be repeated."`
	Append  string           `placeholder:"CMDLINE" help:"Kernel command line."`
	Timeout time.Duration    `placeholder:"D" help:"End the guest after this time (like 30s), with status 124."`
	Guard   string           `placeholder:"stacks[=MODE]" help:"Watch the kernel stacks of sleeping tasks: stacks=detect or stacks=attribute (what stacks alone means). Exit status 66 when something was reported."`
	Watch   []string         `placeholder:"WHAT" sep:"none" help:"Tell of every write to WHAT: a variable of the kernel (task.initTask.state), an address or phys:ADDRESS, with options: WHAT[,len=N][,access=rw][,if=EXPR][,stop]. May be repeated. Exit status 66 when stop ended the guest."`
	Report  string           `placeholder:"DIR" help:"Write reports and what belongs to them into DIR/vm-debug-TIME."`
	Trace   string           `placeholder:"FILE" help:"Turn the kernel's flight recorder on (debug=htrace) and save it to a file at the end, for vmm trace."`
	Verbose bool             `short:"v" help:"Print the kernel's log, the boot phases and the system calls the kernel lacks."`
	Phases  string           `placeholder:"FILE" help:"Write the boot phases, exits and memory use as JSON; - prints a table of the phases to standard error."`
	Host    string           `enum:"auto,kvm,hosted" default:"auto" help:"Where to run: this machine's /dev/kvm (kvm), the KVM host in QEMU (hosted), or what works (auto)."`
	Program []string         `arg:"" optional:"" passthrough:"partial" help:"Program in the guest and its arguments; the default is /bin/sh."`

	started time.Time
}

// size is a number of bytes with an optional suffix K, M or G (powers of 1024).
type size uint64

// UnmarshalText parses a size.
func (s *size) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(strings.ToUpper(string(text)), "KMGIB")
	shift, ok := map[string]int{
		"": 0, "B": 0, "K": 10, "KB": 10, "KIB": 10, "M": 20, "MB": 20, "MIB": 20, "G": 30, "GB": 30, "GIB": 30,
	}[strings.ToUpper(string(text[len(digits):]))]
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || !ok || n<<shift>>shift != n {
		return fmt.Errorf("%q is not a size like 256M or 2G", text)
	}
	*s = size(n << shift)
	return nil
}

// Run is what kong calls.
func (c *runCommand) Run() error {
	if len(c.Program) > 0 && c.Program[0] == "--" {
		c.Program = c.Program[1:]
	}
	if c.Name != "" {
		if err := control.CheckName(c.Name); err != nil {
			return c.fail(fmt.Errorf("%w: --name: %w", guest.ErrUsage, err))
		}
	}
	if _, _, err := gdbAddress(c.GDB); c.GDB != "" && err != nil {
		return c.fail(fmt.Errorf("%w: --gdb: %w", guest.ErrUsage, err))
	}
	if c.Timeout < 0 {
		return c.fail(fmt.Errorf("%w: --timeout %v is negative", guest.ErrUsage, c.Timeout))
	}
	o := c.options()
	var err error
	for _, w := range c.Watch {
		if _, err := watch.ParseSpec(w); err != nil {
			return c.fail(fmt.Errorf("%w: --watch: %w", guest.ErrUsage, err))
		}
	}
	o.Debug.Watch = c.Watch
	if o.Debug.Guard, err = stackguard.ParseMode(c.Guard); err != nil {
		return c.fail(fmt.Errorf("%w: --guard: %w", guest.ErrUsage, err))
	}
	if err := o.Check(); err != nil {
		return c.fail(err)
	}
	ctx := context.Background()
	local, err := c.chooseLocal(ctx)
	if err != nil {
		return c.fail(err)
	}
	if !local {
		return c.inHosted(ctx, o)
	}
	return c.here(ctx, o)
}

func (c *runCommand) options() guest.Options {
	o := guest.Options{
		CPUs: c.CPUs, Memory: uint64(c.Mem), Kernel: c.Kernel, Add: c.Add, CommandLine: c.Append,
		Program: c.Program, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Started: c.started,
		Measure: c.Phases != "" && c.Phases != "-",
		Trace:   c.Trace,
		Env:     []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "USER=root"},
	}
	if t := os.Getenv("TERM"); t != "" {
		o.Env = append(o.Env, "TERM="+t)
	}
	folder := c.buildFolder()
	if o.Kernel == "" {
		o.Kernel = filepath.Join(folder, "ringo.elf")
	}
	if c.Initrd != nil {
		o.Initrd = *c.Initrd
	} else {
		if def := filepath.Join(folder, "initramfs.cpio"); exists(def) {
			o.Initrd = def
		}
	}
	return o
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// here runs the guest on this machine's /dev/kvm.
func (c *runCommand) here(ctx context.Context, o guest.Options) error {
	if console.IsTerminal(os.Stdin) && console.IsTerminal(os.Stdout) {
		o.Terminal = os.Stdin
	}
	if c.Verbose {
		o.Log = os.Stderr
	}
	name, err := c.claim("kvm")
	if err != nil {
		return c.fail(err)
	}
	if name != nil {
		defer name.Close()
		o.Live = func(l *guest.Live) (func(), error) {
			if c.Wait {
				l.WaitForDebugger()
			}
			return serveControl(name, l)
		}
	}
	o.Debug.Text, o.Debug.Color, o.Debug.Folder = os.Stderr, console.IsTerminal(os.Stderr), c.Report
	stopGDB, err := c.listenGDB(name)
	if err != nil {
		return c.fail(err)
	}
	defer stopGDB()
	signals, stopSignals := console.Signals()
	defer stopSignals()
	o.Signals = signals
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
		defer cancel()
	}
	outcome, err := guest.Run(ctx, o)
	if phasesErr := c.writePhases(outcome); err == nil {
		err = phasesErr
	}
	if c.Verbose {
		writeMissing(os.Stderr, outcome.Missing)
	}
	if err != nil {
		err = c.explain(err, outcome)
	} else {
		err = exit(outcome.Status)
	}
	if f := outcome.Debug; f != nil {
		if f.Folder != "" {
			fmt.Fprintln(os.Stderr, "vmm: reports are in", f.Folder)
		}
		if f.Found() > 0 {
			return exit(statusReport)
		}
	}
	return err
}

var errTimeout = errors.New("timeout")

// explain prints what went wrong and chooses the exit status.
func (c *runCommand) explain(err error, outcome guest.Outcome) error {
	if errors.Is(err, guest.ErrWatched) {
		return exit(statusReport)
	}
	if errors.Is(err, guest.ErrStopped) {
		return exit(tell(statusStopped, err))
	}
	var crash *guest.CrashError
	if errors.As(err, &crash) {
		programRan := outcome.Kernel != ""
		switch interrupted := (*console.InterruptedError)(nil); {
		case errors.Is(err, errTimeout):
			tell(statusTimeout, fmt.Errorf("timeout: the guest was still running after %v", c.Timeout))
			if !programRan || c.Verbose {
				c.report(crash, outcome)
			}
			return exit(statusTimeout)
		case errors.As(err, &interrupted):
			return exit(tell(128+int(interrupted.Signal), interrupted))
		}
		tell(statusFailure, err)
		c.report(crash, outcome)
		return exit(statusFailure)
	}
	return c.fail(err)
}

// report prints the end of the kernel's log, unless it went to the terminal anyway, and the
// state of the machine.
func (c *runCommand) report(crash *guest.CrashError, outcome guest.Outcome) {
	if len(outcome.Log) > 0 {
		fmt.Fprintf(os.Stderr, "--- kernel log ---\n%s", outcome.Log)
		if outcome.Log[len(outcome.Log)-1] != '\n' {
			fmt.Fprintln(os.Stderr)
		}
		fmt.Fprintln(os.Stderr, "---")
	}
	fmt.Fprint(os.Stderr, crash.Report)
}

// fail prints one line and chooses the exit status.
func (c *runCommand) fail(err error) error {
	message := err.Error()
	status := statusFailure
	switch {
	case errors.Is(err, guest.ErrUsage):
		status = statusUsage
		message = strings.TrimPrefix(message, guest.ErrUsage.Error()+": ")
	case errors.Is(err, guest.ErrProgram):
		message = strings.TrimPrefix(message, guest.ErrProgram.Error()+": ")
	}
	return exit(tell(status, errors.New(message)))
}

func (c *runCommand) writePhases(o guest.Outcome) error {
	if c.Verbose || c.Phases == "-" {
		o.Phases.WriteTable(os.Stderr)
	}
	if c.Phases == "" || c.Phases == "-" {
		return nil
	}
	b, err := json.MarshalIndent(guest.Report{Phases: o.Phases.List, Use: o.Use}, "", "  ")
	if err == nil {
		err = os.WriteFile(c.Phases, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("--phases: %w", err)
	}
	return nil
}

func writeMissing(w io.Writer, missing map[string]uint64) {
	if len(missing) == 0 {
		return
	}
	fmt.Fprintln(w, "system calls the kernel does not have:")
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		fmt.Fprintf(w, "%8d  %s\n", missing[name], name)
	}
}
