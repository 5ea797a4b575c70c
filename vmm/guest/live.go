package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"ringo/debug/symbols"

	hostconsole "ringo/vmm/console"
	"ringo/vmm/control"
	"ringo/vmm/machine"
)

// ErrStopped is the cause of a guest's end by Live.Stop.
var ErrStopped = errors.New("the guest was stopped by vmm stop")

// Live is a guest between its making and its end, for who controls or debugs it from outside. It
// implements control.Guest. All methods may be called from any goroutine, until the end function of
// Options.Live is called.
type Live struct {
	g      *guest
	info   control.Info
	mirror *hostconsole.Mirror
	stop   context.CancelCauseFunc

	tableOnce sync.Once
	table     *symbols.Table
	tableErr  error

	mu       sync.Mutex
	release  func() // of the user's pause; nil: none
	waiting  func() // releases the hold for a debugger that is to come; nil: none
	ended    bool   // the vCPUs have stopped for good
	debugger *debugger
	over     chan struct{} // closed by end
}

// newLive is the guest's handle, once its machine is built.
func (g *guest) newLive(stop context.CancelCauseFunc) *Live {
	return &Live{g: g, stop: stop, over: make(chan struct{}), mirror: new(hostconsole.Mirror), info: control.Info{
		Arch: hostArch, PID: os.Getpid(), CPUs: g.o.CPUs, Memory: g.o.Memory, Since: time.Now(), Program: g.o.Program,
		Terminal: g.o.Terminal != nil,
	}}
}

// SetName is for who gives the guest its name, before others learn of it.
func (l *Live) SetName(name string) { l.info.Name = name }

// Machine is the machine, which lives until the end function of Options.Live has returned.
func (l *Live) Machine() *machine.Machine { return l.g.m }

// Info describes the guest.
func (l *Live) Info() control.Info {
	i := l.info
	i.State = control.StateRunning
	if l.g.m.Paused() {
		i.State = control.StatePaused
	}
	return i
}

// Symbols are the kernel's, read when first asked for.
func (l *Live) Symbols() (*symbols.Table, error) {
	l.tableOnce.Do(func() { l.table, l.tableErr = l.g.symbols() })
	return l.table, l.tableErr
}

// pauseTime is how long others wait for the vCPUs to stand still.
const pauseTime = 10 * time.Second

// hold pauses the machine until release.
func (l *Live) hold() (release func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), pauseTime)
	defer cancel()
	return l.g.m.Pause(ctx)
}

// Pause makes the guest stand still until Resume. It adds to what other reasons it has to stand still.
func (l *Live) Pause() error {
	release, err := l.hold()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release != nil || l.ended {
		release()
		return nil
	}
	l.release = release
	return nil
}

// Resume ends what Pause began.
func (l *Live) Resume() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release == nil {
		if l.g.m.Paused() {
			return fmt.Errorf("%w: the guest was not paused by this command: a debugger or a watchpoint holds it", control.ErrState)
		}
		return nil
	}
	l.release()
	l.release = nil
	return nil
}

// Stop ends the guest.
func (l *Live) Stop() error {
	l.stop(ErrStopped)
	return nil
}

// Console shows the guest's console to conn.
func (l *Live) Console(conn io.ReadWriter) error { return l.mirror.Join(conn) }

// Backtrace is the stacks of all vCPUs and of all tasks that sleep, at a moment.
func (l *Live) Backtrace() (control.Backtrace, error) {
	table, tableErr := l.Symbols()
	release, err := l.hold()
	if err != nil {
		return control.Backtrace{}, err
	}
	defer release()
	var b control.Backtrace
	if tableErr != nil {
		b.NoNames = tableErr.Error()
	}
	w, _ := l.window() // nil: a kernel without a registry
	for id := range l.g.o.CPUs {
		s := control.Stack{Name: fmt.Sprintf("vCPU %d", id)}
		if w != nil {
			if e, ok := l.current(w, id); ok {
				s.Name += ", " + taskName(&e)
			}
		}
		if r, err := l.g.m.Registers(id); err != nil {
			s.Error = err.Error()
		} else {
			s.State, s.SP = "in the kernel", control.Hex(r.SP())
			of := table
			if r.User() {
				s.State, of = "in user mode", nil // the kernel's symbols say nothing about a program
			}
			s.Frames = frames(of.Unwind(r, l.stackMemory(r)))
		}
		b.Stacks = append(b.Stacks, s)
	}
	b.Stacks = append(b.Stacks, l.taskStacks(table)...)
	return b, nil
}

// stackMemory is guest memory as a vCPU sees it, for the unwinder.
func (l *Live) stackMemory(r *machine.Registers) symbols.Memory {
	mem := l.g.m.Memory()
	read := func(gva uint64, n int) []byte { return mem.ReadVirtual(r, gva, n) }
	return symbols.Memory{
		Word: func(gva uint64) (uint64, bool) { return word(read(gva, 8)) },
		CallTarget: func(ret uint64) (uint64, bool) {
			return callTarget(read(ret-uint64(callLength), callLength), ret)
		},
	}
}

func frames(in []symbols.Frame) []control.Frame {
	out := make([]control.Frame, 0, len(in))
	for _, f := range in {
		c := control.Frame{PC: control.Hex(f.PC)}
		if f.Known {
			c.Function, c.Offset, c.File, c.Line = f.Symbol.Function, control.Hex(f.Symbol.Offset), f.Symbol.File, f.Symbol.Line
		}
		out = append(out, c)
	}
	return out
}

// end gives back what users of the handle have not, and lets the debugger tell its user.
func (l *Live) end() {
	l.mu.Lock()
	l.ended = true
	if l.release != nil {
		l.release()
		l.release = nil
	}
	l.releaseWaiting()
	d := l.debugger
	l.mu.Unlock()
	close(l.over)
	if d == nil {
		return
	}
	select {
	case <-d.over:
	case <-time.After(debuggerTime): // it is not waiting for the guest; its connection will be closed
	}
}

// debuggerTime is how long the debugger may take to tell its user that the guest has ended.
const debuggerTime = time.Second
