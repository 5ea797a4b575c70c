package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/stdio"
	"ringo/guestkernel/loader"
	"ringo/guestkernel/mm"
	"ringo/guestkernel/net/afunix"
	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/syscalls"
	"ringo/guestkernel/task"
	"ringo/guestkernel/tty"
	"ringo/guestkernel/vdso"
	"ringo/guestkernel/vfs"
	"ringo/internal/bootinfo"
	"ringo/internal/command"
	driver "ringo/virtio/driver/console"
	"ringo/virtio/mmio"
)

// Names of the console's ports (docs/architecture.md).
const (
	portConsole = "ringo.console"
	portCommand = "ringo.command"
	portStdio   = "ringo.stdio"
	portStderr  = "ringo.stderr"
)

// window is a virtio-mmio register window.
type window uint64

// Read32 implements mmio.Registers.
func (w window) Read32(off uint32) uint32 { return read32(uint64(w) + uint64(off)) }

// Write32 implements mmio.Registers.
func (w window) Write32(off, v uint32) { write32(uint64(w)+uint64(off), v) }

// countedPort counts what a program wrote to a port, for the Exit message.
type countedPort struct {
	*driver.Port
	sent atomic.Uint64
}

func (p *countedPort) TryWrite(b []byte) int {
	n := p.Port.TryWrite(b)
	p.sent.Add(uint64(n))
	return n
}

// taskShare is how many bytes of memory there have to be for each task that may exist: as on Linux, where threads-max
// lets kernel stacks take an eighth of memory.
const taskShare = 128 << 10

// system is the running kernel.
type system struct {
	console             *driver.Console
	tty, stdout, stderr *countedPort
	commands            *driver.Port
	tasks               *task.Kernel
	table               *syscalls.Table
	ns                  *vfs.Namespace
	sendMu              sync.Mutex
	input               *stdio.Input
	terminal            *tty.Terminal
	sessions            *tty.Sessions
	root                RootConfig
	program             atomic.Pointer[task.Group]
	hostDone            chan struct{}
	hostDoneOnce        sync.Once
}

// Main runs the personality: devices, root, the program that the monitor names. It powers the machine off
// and does not return.
func Main() {
	s := &system{hostDone: make(chan struct{})}
	if err := s.run(); err != nil {
		nucleus.LogWrite([]byte("ringo: " + err.Error() + "\n"))
		if s.commands != nil {
			s.send(&command.Failed{Reason: command.ReasonKernel, Message: err.Error()})
			s.commands.Drain()
		}
		nucleus.PowerOff(bootinfo.PowerOffPanic)
	}
	nucleus.PowerOff(bootinfo.PowerOffNormal)
}

func (s *system) run() error {
	if err := s.openConsole(); err != nil {
		return err
	}
	nucleus.Stamp(bootinfo.PhaseDevices)
	// The monitor answers while the root is being made.
	s.send(&command.Ready{Kernel: fmt.Sprintf("Ringo %s %s, %d CPUs, %s", syscalls.Release, task.UnameMachine, nucleus.BootInfo().CPUs, runtime.Version())})
	commands := s.receive()
	setReserve(nucleus.FrameStats().TotalFrames)
	if err := s.makeRoot(); err != nil {
		return err
	}
	nucleus.Stamp(bootinfo.PhaseRoot)
	memory, err := mm.NewMemory(&hardware{frames{nucleus.OwnerUser}})
	if err != nil {
		return err
	}
	ram := nucleus.FrameStats().TotalFrames * mm.PageSize
	memory.LimitMaps(ram / 16)
	afunix.Memory.Limit.Store(int64(ram / 8))
	socket.LowMemory = func() bool { return nucleus.FreeFrameCount() < reserve.Load()/4*3 }
	hwcap, hwcap2 := hardwareCaps()
	s.table = syscalls.NewTable(task.SyscallNumbers)
	syscalls.MemoryTotals = func() (total, free uint64) {
		st := nucleus.FrameStats()
		return st.TotalFrames * mm.PageSize, st.FreeFrames * mm.PageSize
	}
	injector, err := openInjector()
	if err != nil {
		return err
	}
	registry, err := openRegistry()
	if err != nil {
		return err
	}
	s.tasks = task.New(task.Config{
		Registry: registry, Inject: injector,
		Machine: &hardware{frames{nucleus.OwnerUser}}, Memory: memory, Syscalls: s.table, Random: rand.Uint64,
		Auxv: loader.Hardware{HWCAP: hwcap, HWCAP2: hwcap2}, Trace: s.tracer(), SessionEnded: s.sessions.LeaderExited, MaxTasks: int(ram / taskShare),
	})
	if s.tasks.Auxv.VDSO, err = vdso.New(frames{nucleus.OwnerNucleus}, vdsoClock(s.tasks.Started())); err != nil {
		return err
	}
	err = MountSystem(s.ns, s.root, System{
		Tasks: s.tasks, Terminals: s.sessions, CPUs: int(nucleus.BootInfo().CPUs), CommandLine: nucleus.CommandLine(), Recorder: openRecorder(),
		Memory: func() (total, free, cached uint64) {
			total, free = syscalls.MemoryTotals()
			return total, free, 0
		},
	})
	if err != nil {
		return err
	}
	return s.serve(commands)
}

// vdsoClock is the clock of user mode, whose zero of CLOCK_MONOTONIC is `started`.
func vdsoClock(started time.Time) vdso.Clock {
	c := vdso.Clock{}
	c.Base, c.Mult, c.Wall, c.CPUNumber = clockFactors()
	// The two clocks cannot be read at once. The narrowest bracket of several counts, and of it the late end: so user mode is never ahead of
	// the system call, and behind it by less than a call takes.
	narrowest := int64(math.MaxInt64)
	for range 16 {
		before := nucleus.Nanotime()
		age := int64(time.Since(started))
		if after := nucleus.Nanotime(); after-before < narrowest {
			narrowest, c.Start = after-before, uint64(after-age)
		}
	}
	return c
}

// tracer prints every system call to the log when the command line has "strace".
func (s *system) tracer() func(*task.Task, uint64, [6]uint64, uint64, error) {
	if !options().strace {
		return nil
	}
	return func(t *task.Task, nr uint64, a [6]uint64, ret uint64, err error) {
		result := fmt.Sprintf("%#x", ret)
		if err != nil {
			result = err.Error()
		}
		nucleus.LogWrite(fmt.Appendf(nil, "[%d %s] %s(%#x, %#x, %#x, %#x, %#x, %#x) = %s\n",
			t.TID(), t.Comm(), s.table.Name(nr), a[0], a[1], a[2], a[3], a[4], a[5], result))
	}
}

// openConsole finds the virtio console and its ports.
func (s *system) openConsole() error {
	info := nucleus.BootInfo()
	var failures error
	for i := range int(info.NumMMIO) {
		w := info.MMIO[i]
		va, err := nucleus.MapDevice(w.Base, w.Size)
		if err != nil {
			failures = errors.Join(failures, err)
			continue
		}
		guest, err := mmio.Probe(window(va))
		if err != nil || guest.DeviceID() != mmio.IDConsole {
			continue
		}
		irq, err := nucleus.OpenIRQ(w.IRQ)
		if err != nil {
			failures = errors.Join(failures, err)
			continue
		}
		c, err := driver.New(window(va), driver.Env{Alloc: allocDevice, Wait: func() bool { _, err := irq.Wait(); return err == nil }})
		if err != nil {
			failures = errors.Join(failures, fmt.Errorf("console at GPA %#x: %w", w.Base, err))
			continue
		}
		return s.openPorts(c)
	}
	if failures == nil {
		failures = errors.New("none of the virtio-mmio windows holds a console")
	}
	return fmt.Errorf("no console: %w", failures)
}

func (s *system) openPorts(c *driver.Console) error {
	port := func(name string) (*countedPort, error) {
		p := c.Port(name)
		if p == nil {
			return nil, fmt.Errorf("the console has no port %s: monitor and kernel are of different builds", name)
		}
		return &countedPort{Port: p}, nil
	}
	s.console = c
	var err error
	for name, p := range map[string]**countedPort{portConsole: &s.tty, portStdio: &s.stdout, portStderr: &s.stderr} {
		if *p, err = port(name); err != nil {
			return err
		}
	}
	if s.commands = c.Port(portCommand); s.commands == nil {
		return fmt.Errorf("the console has no port %s", portCommand)
	}
	return nil
}

// allocDevice is memory that a device reads and writes.
func allocDevice(size int) ([]byte, uint64, error) {
	order := uint(0)
	for mm.PageSize<<order < size {
		order++
	}
	gpa, err := nucleus.AllocFrames(order, nucleus.OwnerDevice)
	if err != nil {
		return nil, 0, err
	}
	return nucleus.Bytes(gpa, mm.PageSize<<order)[:size:size], gpa, nil
}

func (s *system) makeRoot() error {
	info := nucleus.BootInfo()
	var archive []byte
	if info.InitrdSize > 0 {
		archive = nucleus.Bytes(info.Initrd, int(info.InitrdSize))
	}
	devices := vfs.NewDevices()
	s.sessions = tty.NewSessions()
	s.terminal = tty.NewConsole(s.tty, processes{s}, s.sessions)
	tty.RegisterConsole(devices, s.terminal)
	s.root = RootConfig{
		Frames: frames{nucleus.OwnerPageCache}, Archive: archive, Random: fillRandom,
		Log: func(b []byte) { nucleus.LogWrite(b); syscalls.KernelLog.Write(b) }, Devices: devices, Nodes: tty.Nodes,
		Pages: int64(nucleus.FrameStats().TotalFrames / 2),
	}
	var err error
	s.ns, err = NewRoot(s.root)
	return err
}

// processes is the task layer as the console sees it, which exists before the tasks do.
type processes struct{ s *system }

// SignalProcessGroup implements tty.Processes.
func (p processes) SignalProcessGroup(pgid, sig int) {
	if p.s.tasks != nil {
		p.s.tasks.SignalProcessGroup(pgid, sig)
	}
}

// SessionOf implements tty.Processes.
func (p processes) SessionOf(pgid int) int { return p.s.tasks.SessionOf(pgid) }

// fillRandom fills b from the runtime's generator, which the host's seed started.
func fillRandom(b []byte) {
	var w [8]byte
	for len(b) > 0 {
		binary.LittleEndian.PutUint64(w[:], rand.Uint64())
		b = b[copy(b, w[:]):]
	}
}

// send sends a message to the monitor.
func (s *system) send(m command.Message) {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if err := command.Write(s.commands, m); err != nil {
		nucleus.LogWrite([]byte("ringo: " + err.Error() + "\n"))
	}
}

// received is a message of the monitor, or the end of the channel.
type received struct {
	m   command.Message
	err error
}

// receive reads the command channel to its end in a goroutine of its own.
func (s *system) receive() <-chan received {
	c := make(chan received, 16)
	r := command.NewReader(s.commands, command.MaxStart)
	go func() {
		defer close(c)
		for {
			m, err := r.Read()
			c <- received{m, err}
			if err != nil {
				return
			}
		}
	}()
	return c
}

// serve takes commands until the program has ended and the monitor has its output.
func (s *system) serve(commands <-chan received) error {
	first := <-commands
	if first.err != nil {
		return fmt.Errorf("waiting for the program to start: %w", first.err)
	}
	start, ok := first.m.(*command.Start)
	if !ok {
		return fmt.Errorf("the monitor began with %T instead of Start", first.m)
	}
	streams, err := s.streams(start)
	if err != nil {
		return err
	}
	started := func(pid int) {
		if start.TTY {
			s.terminal.Control(pid, pid)
		}
	}
	g, failed := Start(s.tasks, s.ns, start, streams, started)
	if failed != nil {
		s.send(failed)
		s.commands.Drain()
		go s.listen(commands)
		s.waitForHost()
		return nil
	}
	s.program.Store(g)
	go s.listen(commands)
	<-g.Ended()
	nucleus.Stamp(bootinfo.PhaseProgramExit)
	exit := exitOf(g)
	<-s.tasks.KillAll()
	s.tasks.IPC().Release() // shared memory that nobody removed lives as long as its namespace
	s.checkLeaks()
	s.terminal.Drain()
	for _, p := range []*countedPort{s.tty, s.stdout, s.stderr} {
		if err := p.Drain(); err != nil {
			return err
		}
	}
	if m := missing(s.table); m != nil {
		s.send(m)
	}
	exit.StdoutBytes, exit.StderrBytes, exit.ConsoleBytes = s.stdout.sent.Load(), s.stderr.sent.Load(), s.tty.sent.Load()
	s.send(exit)
	s.commands.Drain()
	s.waitForHost()
	return nil
}

// checkLeaks reports what user memory is left when no task is: only the zero frame may be.
func (s *system) checkLeaks() {
	stats := nucleus.FrameStats()
	owned := stats.Owned
	if options().account {
		s.account(stats)
	}
	if options().counts {
		nucleus.LogWrite(fmt.Appendf(nil, "ringo: counts: traps %d, switches %d, idle %d ms, %+v\n", stats.Traps, stats.Switches, stats.IdleTime/1e6, stats.Counts))
	}
	if user, contexts := owned[nucleus.OwnerUser], owned[nucleus.OwnerContext]; user > 1 || contexts > 0 {
		nucleus.LogWrite(fmt.Appendf(nil, "ringo: leak: all tasks have ended, but %d frames of user memory and %d user contexts are in use\n", user-1, contexts))
	}
}

// account adds everything up and says so: every frame has one owner, and tasks have given theirs back.
func (s *system) account(stats nucleus.Stats) {
	sum, list := stats.FreeFrames, ""
	for owner, n := range stats.Owned {
		if o := nucleus.Owner(owner); n > 0 && o != nucleus.OwnerFree && o != nucleus.OwnerReserved {
			sum += n
			list += fmt.Sprintf(", %s %d", o, n)
		}
	}
	text := "all frames and tasks accounted for"
	if live := s.tasks.Live(); live != 0 || sum != stats.TotalFrames || stats.Owned[nucleus.OwnerUser] > 1 || stats.Owned[nucleus.OwnerContext] > 0 {
		text = fmt.Sprintf("leak: %d tasks live, %d frames have owners or are free", live, sum)
	}
	nucleus.LogWrite(fmt.Appendf(nil, "ringo: accounts: %s: %d frames, free %d%s\n", text, stats.TotalFrames, stats.FreeFrames, list))
}

// streams makes the program's standard streams.
func (s *system) streams(start *command.Start) (streams Streams, err error) {
	if start.TTY {
		return s.terminalStreams(start)
	}
	input, d0, err := stdio.OpenInput(s.stdout)
	if err != nil {
		return streams, fmt.Errorf("standard input: %w", err)
	}
	s.input = input
	d1, err := stdio.OpenOutput(s.stdout)
	if err != nil {
		return streams, fmt.Errorf("standard output: %w", err)
	}
	d2, err := stdio.OpenOutput(s.stderr)
	if err != nil {
		return streams, fmt.Errorf("standard error: %w", err)
	}
	return Streams{d0, d1, d2}, nil
}

// terminalStreams opens the console three times over.
func (s *system) terminalStreams(start *command.Start) (streams Streams, err error) {
	s.terminal.SetWindowSize(start.Rows, start.Cols)
	c := vfs.NewKernelCaller(s.ns.Root())
	defer c.Close()
	d, err := vfs.Open(c, vfs.AtCwd(c), "/dev/console", unix.O_RDWR, 0)
	if err != nil {
		return streams, fmt.Errorf("/dev/console: %w", err)
	}
	d.Ref()
	d.Ref()
	return Streams{d, d, d}, nil
}

// listen obeys the monitor until the channel ends.
func (s *system) listen(commands <-chan received) {
	defer s.hostDoneOnce.Do(func() { close(s.hostDone) })
	for c := range commands {
		if c.err != nil {
			if c.err != io.EOF {
				nucleus.LogWrite([]byte("ringo: " + c.err.Error() + "\n"))
			}
			return
		}
		switch m := c.m.(type) {
		case *command.Signal:
			g := s.program.Load()
			if g == nil || m.Number <= 0 || m.Number > task.NumSignals {
				continue
			}
			if s.input == nil {
				s.terminal.SignalForeground(unix.Signal(m.Number))
			} else {
				s.tasks.SignalProcessGroup(g.PID(), m.Number)
			}
		case *command.WindowSize:
			s.terminal.SetWindowSize(m.Rows, m.Cols)
		case *command.StdinEnd:
			if s.input != nil {
				s.input.End(int64(m.Bytes))
			}
		case *command.Done:
			return
		}
	}
}

func (s *system) waitForHost() { <-s.hostDone }
