// Package guest is one guest from files to exit status: it builds the machine, loads the
// kernel and the initramfs, joins the program in the guest to the caller's streams, and says
// how it ended. The CLI, the contract runner and tests use it alike.
package guest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringo/debug/report"
	"ringo/debug/symbols"
	"ringo/internal/bootinfo"
	"ringo/internal/command"
	"ringo/virtio/console"
	device "ringo/virtio/device/console"
	"ringo/virtio/mmio"
	"ringo/vmm/boot"
	hostconsole "ringo/vmm/console"
	"ringo/vmm/machine"
	"ringo/vmm/serial"
)

// Options describe a guest.
type Options struct {
	CPUs        int
	Memory      uint64 // bytes
	Kernel      string // path of the ELF PIE
	Initrd      string // path of a cpio archive; "": none
	Add         []Addition
	CommandLine string
	// Program and its arguments. Nil: /bin/sh, or nothing when the kernel powers off by
	// itself (a self-test).
	Program []string
	Env     []string // NAME=value

	// Terminal, Stdin, Stdout, Stderr and Signals are as in vmm/console.Options.
	Terminal       *os.File
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan os.Signal
	// Log takes the kernel's messages as they come. Nil: the last ones are kept for
	// Outcome.Log.
	Log io.Writer

	// Live, if set, is called when the machine is built and before its vCPUs start. The function that it
	// returns is called once they have stopped, while the machine is still there; nothing may use the
	// handle any more when that returns. An error ends the guest before it began.
	Live func(*Live) (end func(), err error)
	// Debug says what the guest is watched for.
	Debug Debug

	// Started is when the caller's process began, for Outcome.Phases.
	Started time.Time
	// Trace is a file to which the kernel's flight recorder is saved at the end; it is on then. "": no file.
	Trace string
	// Measure asks for Outcome.Use.
	Measure bool
}

// Outcome is how a guest ended.
type Outcome struct {
	// Status is the program's exit status, 128 + the signal that killed it, or 0 when the
	// kernel powered off without a program.
	Status  int
	Missing map[string]uint64 // system calls the kernel does not have
	Phases  Phases
	Use     *Use      // what the guest cost, if asked for
	Watched uint64    // hits of watches
	Debug   *Findings // what was found, if anybody asked for anything
	Kernel  string    // its version line
	// Log is the end of what the kernel printed, when Options.Log was nil.
	Log []byte
}

// Errors of Run that the caller tells apart. Others are failures of the monitor or kernel.
var (
	// ErrUsage: the options ask for something impossible.
	ErrUsage = errors.New("usage")
	// ErrProgram: the program did not start; the message is for the user as it is.
	ErrProgram = errors.New("program")
)

// CrashError is a guest that did not end by itself: its kernel panicked, a vCPU cannot go on, or
// it was still running when the context ended. Report is for people, several lines.
type CrashError struct {
	Err    error
	Report string
}

func (e *CrashError) Error() string { return e.Err.Error() }

// Unwrap is the cause: a *machine.FatalExit, ErrPanic, or the context's cause.
func (e *CrashError) Unwrap() error { return e.Err }

// ErrPanic: the kernel powered off after a panic.
var ErrPanic = errors.New("the kernel panicked")

// Architecture is what the guests of this process are: the host's own architecture.
func Architecture() string { return hostArch }

// poweroffTime is how long a guest may take to power off once its program has ended and all
// output has been delivered.
const poweroffTime = 2 * time.Second

// Run runs one guest to its end. When ctx ends, so does the guest; the error then wraps the
// context's cause. Nothing is left behind in any case.
func Run(ctx context.Context, o Options) (Outcome, error) {
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	g := &guest{o: o, phases: newPhases(o.Started)}
	defer g.close()
	if err := g.build(); err != nil {
		return Outcome{}, err
	}
	if err := g.watch(); err != nil {
		return Outcome{}, err
	}
	outcome, err := g.run(ctx)
	g.watches.summary()
	outcome.Watched = g.watches.found()
	if closing := g.watcher.judged(g, &outcome, err); err == nil {
		err = closing
	}
	return outcome, err
}

type guest struct {
	o       Options
	m       *machine.Machine
	console *device.Console
	early   *serial.Lines
	log     io.Writer
	tail    *tail
	entry   machine.Entry
	phases  Phases
	bell    Doorbell
	debug   bootinfo.Window // registry of kernel stacks (internal/debugwindow)
	trace   bootinfo.Window // event rings; size 0: none
	watcher *watcher
	watches *watches
	table   struct { // of the kernel; see symbols
		once sync.Once
		t    *symbols.Table
		err  error
	}
}

func (g *guest) close() {
	if g.console != nil {
		g.console.Close()
	}
	if g.m != nil {
		// What fails here is reported nowhere better: the guest has ended.
		_ = g.m.Close()
	}
	if g.early != nil {
		g.early.Flush()
	}
}

// build makes the machine and fills its memory.
func (g *guest) build() error {
	layout, err := boot.LayoutOf(hostArch)
	if err != nil {
		return err
	}
	kernel, kernelSize, err := openRegular(g.o.Kernel, "kernel")
	if err != nil {
		return err
	}
	defer kernel.Close()
	if err := boot.CheckKernel(layout, kernel, uint64(kernelSize)); err != nil {
		return fmt.Errorf("kernel %s: %w", g.o.Kernel, err)
	}
	initramfs, err := openArchive(g.o.Initrd, g.o.Add)
	if err != nil {
		return err
	}
	defer initramfs.Close()
	if uint64(initramfs.size) >= g.o.Memory {
		return fmt.Errorf("%w: an initramfs of %d MiB does not fit %d MiB: give it more with --mem", boot.ErrNoRoom, initramfs.size>>20, g.o.Memory>>20)
	}
	g.phases.mark("files opened")
	g.m, err = machine.New(machine.Config{CPUs: g.o.CPUs, Memory: g.o.Memory})
	if errors.Is(err, machine.ErrConfig) {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	} else if err != nil {
		return err
	}
	g.phases.mark("machine created")
	if err := g.addDevices(); err != nil {
		return err
	}
	g.phases.mark("devices added")
	q := &boot.Request{
		Layout: layout, Memory: g.m.Memory(), CPUs: g.o.CPUs, Kernel: kernel, KernelSize: uint64(kernelSize),
		CommandLine: g.commandLine(), Virtio: g.m.VirtioWindows(),
		InitrdSize: uint64(initramfs.size), Initrd: initramfs.write,
		Mark: g.phases.mark, DebugSize: debugSize(g.o.Memory), TraceSize: traceSize(g.o.CPUs, g.o.Memory, g.commandLine()),
	}
	if unchanging(kernel) {
		q.Share = func(gpa, size uint64, offset int64) error { return g.m.Memory().Share(gpa, size, kernel, offset) }
	}
	if q.CounterHz, err = g.m.CounterHz(); err != nil {
		return err
	}
	g.phases.hz = q.CounterHz
	for _, r := range g.m.Memory().Ranges() {
		q.RAM = append(q.RAM, [2]uint64{r.Base, r.Size})
	}
	if _, err := rand.Read(q.Seed[:]); err != nil {
		return fmt.Errorf("random seed for the guest: %w", err)
	}
	r, err := boot.Load(q)
	if err != nil {
		return fmt.Errorf("kernel %s: %w", g.o.Kernel, err)
	}
	g.entry = machine.Entry{
		PC: r.Kernel.Entry, Root: r.Root, Arg: r.Info, Early: r.Early,
		Image: machine.Image{Phys: r.Kernel.Phys, Virt: r.Kernel.Virt, Size: r.Kernel.Size},
	}
	g.debug, g.trace = r.Debug, r.Trace
	g.phases.mark("boot tables written")
	return nil
}

// unchanging says that a file lies in memory and cannot be written: so the hosted machines keep
// kernels. Elsewhere a file that is rebuilt in place must not change a running guest.
func unchanging(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type == unix.TMPFS_MAGIC && st.Flags&unix.ST_RDONLY != 0
}

// addDevices puts the early console and the virtio console into the machine.
func (g *guest) addDevices() error {
	g.log = g.o.Log
	if g.log == nil {
		g.tail = new(tail)
		g.log = g.tail
	}
	g.early = serial.NewLines(g.log)
	if err := addUART(g.m, g.early); err != nil {
		return err
	}
	g.bell.mark, g.bell.text = g.plantedDevice(), printer(g.m.Memory(), g.early)
	if err := addDoorbell(g.m, &g.bell); err != nil {
		return err
	}
	c, err := device.New(console.PortNames[:]...)
	if err != nil {
		return err
	}
	w, err := g.m.NewVirtioWindow()
	if err != nil {
		return err
	}
	g.console = c
	return w.Attach(mmio.NewTransport(c, g.m.Memory(), w.Interrupt))
}

// sessionEnd is what vmm/console answered.
type sessionEnd struct {
	result hostconsole.Result
	err    error
}

// run starts the vCPUs and the session and waits for both.
func (g *guest) run(ctx context.Context) (Outcome, error) {
	machineCtx, stopMachine := context.WithCancelCause(ctx)
	defer stopMachine(nil)
	sessionCtx, stopSession := context.WithCancelCause(ctx)
	defer stopSession(nil)

	var live *Live
	if g.o.Live != nil {
		live = g.newLive(stopMachine)
		end, err := g.o.Live(live)
		if err != nil {
			return Outcome{}, err
		}
		defer func() {
			live.end()
			end()
		}()
	}
	ended := make(chan sessionEnd, 1)
	go func() {
		r, err := hostconsole.Run(sessionCtx, g.session(live))
		ended <- sessionEnd{r, err}
	}()
	type stopped struct {
		stop machine.Stop
		err  error
	}
	halted := make(chan stopped, 1)
	err := boot.SetWallClock(g.m.Memory(), g.entry.Arg, time.Now().UnixNano())
	if err == nil {
		g.phases.start, err = g.m.Counter()
	}
	if err != nil {
		stopSession(err)
		<-ended
		return Outcome{}, err
	}
	g.phases.mark("vCPUs started")
	go func() {
		s, err := g.m.Run(machineCtx, g.entry)
		halted <- stopped{s, err}
	}()

	var session sessionEnd
	var halt stopped
	select {
	case halt = <-halted:
		g.console.Close() // the session's reads end after what has arrived
		session = <-ended
	case session = <-ended:
		if session.err == nil || errors.Is(session.err, hostconsole.ErrEnded) {
			timer := time.AfterFunc(poweroffTime, g.m.PowerOff)
			halt = <-halted
			timer.Stop()
		} else {
			stopMachine(session.err)
			halt = <-halted
		}
	}
	g.early.Flush()
	g.phases.guest(g.m.Memory(), g.entry.Arg)
	o := Outcome{Missing: session.result.Missing, Kernel: session.result.Kernel, Phases: g.phases}
	if g.tail != nil {
		o.Log = g.tail.bytes()
	}
	if err := g.saveTrace(); err != nil {
		return o, err
	}
	if g.o.Measure {
		o.Use = new(Use)
		if err := o.Use.measure(g.m); err != nil {
			return o, fmt.Errorf("measure the monitor: %w", err)
		}
	}
	if halt.err != nil {
		return o, halt.err
	}
	return g.judge(ctx, machineCtx, o, session, halt.stop)
}

func (g *guest) session(live *Live) hostconsole.Options {
	port := func(i int) io.ReadWriteCloser { return g.console.Port(i) }
	s := hostconsole.Options{
		Ports: hostconsole.Ports{
			Console: port(console.PortConsole), Command: port(console.PortCommand), Stdio: port(console.PortStdio),
			Stderr: port(console.PortStderr), Log: port(console.PortLog),
		},
		Terminal: g.o.Terminal, Stdin: g.o.Stdin, Stdout: g.o.Stdout, Stderr: g.o.Stderr, Log: g.log, Signals: g.o.Signals,
		Start: command.Start{Path: "/bin/sh", Args: []string{"sh"}, Env: g.o.Env},
	}
	if len(g.o.Program) > 0 {
		s.Start.Path, s.Start.Args = g.o.Program[0], g.o.Program
	}
	if live != nil {
		s.Mirror = live.mirror
	}
	return s
}

// judge makes one verdict of what the machine and the session say.
func (g *guest) judge(ctx, machineCtx context.Context, o Outcome, session sessionEnd, stop machine.Stop) (Outcome, error) {
	switch stop.Kind {
	case machine.StopFatal:
		return o, &CrashError{stop.Fatal, g.fatalReport(stop.Fatal)}
	case machine.StopPanic:
		return o, &CrashError{fmt.Errorf("%w (power-off code %d)", ErrPanic, stop.Code), g.states(report.CausePanic)}
	case machine.StopTraced:
		return o, ErrWatched
	case machine.StopCancelled:
		err := session.err
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if errors.Is(context.Cause(machineCtx), ErrStopped) {
			return o, ErrStopped
		}
		if err == nil {
			err = errors.New("the machine was stopped")
		}
		return o, &CrashError{err, g.states(report.CauseHang)}
	}
	switch {
	case session.err == nil:
	case errors.Is(session.err, hostconsole.ErrEnded) && len(g.o.Program) == 0 && o.Kernel == "":
		return o, nil // a self-test: the kernel never asked for a program
	case errors.Is(session.err, hostconsole.ErrEnded):
		return o, &CrashError{errors.New("the kernel powered off before the program had ended"), ""}
	default:
		return o, session.err
	}
	r := session.result
	switch {
	case r.Failed != nil:
		return o, fmt.Errorf("%w: %s", ErrProgram, r.Failed.Message)
	case r.Signal != 0:
		o.Status = 128 + r.Signal
	default:
		o.Status = r.Code
	}
	return o, nil
}

// Check answers a wrapped ErrUsage for options that no host could serve, before anything is
// opened or started elsewhere.
func (o *Options) Check() error {
	switch {
	case o.CPUs < 1 || o.CPUs > bootinfo.MaxCPUs:
		return fmt.Errorf("%w: --cpus %d: want 1 to %d", ErrUsage, o.CPUs, bootinfo.MaxCPUs)
	case o.Memory < machine.MinMemory || o.Memory > machine.MaxMemory || o.Memory%(1<<20) != 0:
		return fmt.Errorf("%w: --mem %d bytes: want a multiple of 1 MiB from %dM to %dG", ErrUsage, o.Memory, machine.MinMemory>>20, uint64(machine.MaxMemory)>>30)
	case len(o.CommandLine) > bootinfo.MaxCommandLine:
		return fmt.Errorf("%w: --append of %d bytes: want at most %d", ErrUsage, len(o.CommandLine), bootinfo.MaxCommandLine)
	}
	return nil
}
