package contracts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"

	reports "ringo/debug/report"
	"ringo/vmm/guest"
)

// Kinds of machines that programs run on.
const (
	OnLinux = "linux"
	OnRingo = "ringo"
)

// Batch is programs to run one after the other in one machine: one driver, and on Ringo one guest.
type Batch struct {
	On       string
	Programs []Task
	// Folder has the programs as Stage laid them out; Root is the root file system on Linux (a folder), and Initrd that of a guest
	// (an archive). All paths must be visible where the machine is.
	Folder, Root, Initrd string
	Kernel               string // path of Ringo's ELF
	CPUs                 int    // of a guest
	Memory               uint64 // of a guest, bytes
	Trace                bool   // record system calls; only sensible for one program
	Guard                string `json:",omitempty"` // as for vmm run --guard
	// Files are further files and folders below Folder that programs of a guest find at the same place below /contracts; on Linux they
	// see the whole folder.
	Files []string
}

// Task is one program of a batch.
type Task struct {
	Name    string
	Path    string // on this side
	Timeout time.Duration
	Turn    string `json:",omitempty"` // as Program.Turn
}

// Result is what became of one program.
type Result struct {
	Name           string
	Stdout, Stderr []byte        `json:",omitempty"`
	How            How           // how it ended
	Code           int           // exit status, or number of the signal
	Took           time.Duration // as the machine's clock has it; for crashes the runner's
	// Report is what the monitor says of a guest that crashed or hung.
	Report string `json:",omitempty"`
	// Second says that this is the program's second guest, as QEMU had killed the first.
	Second bool `json:",omitempty"`
	// Missing counts system calls that the kernel does not have, of the whole guest: of one program when it was alone.
	Missing map[string]uint64 `json:",omitempty"`
	// Guard is what a stack guard said of the guest until here, on its last program.
	Guard *Watched `json:",omitempty"`
	// Calls are its system calls, when the batch asked for them.
	Calls []Call `json:",omitempty"`
}

// How a program ended.
type How string

// The ends of programs.
const (
	Exited   How = "exit"
	Signaled How = "signal"
	TimedOut How = "timeout"
	Crashed  How = "crash" // its kernel did
)

// End renders how a program ended, as baselines and differences show it.
func (r Result) End() string {
	switch r.How {
	case Exited, Signaled:
		return fmt.Sprintf("%s %d", r.How, r.Code)
	}
	return string(r.How)
}

// Machine runs batches. Run reports each program's result as soon as it is known, one at a time and in order. A machine
// that dies or hangs reports the program it was running and returns nil: programs that were not reported did not
// run. An error means that nothing can be said about any program. Any number of calls at a time.
type Machine interface {
	Run(ctx context.Context, b Batch, report func(Result)) error
}

// grace is what a program may exceed its own timeout, kept by the driver inside, before the machine is
// taken for hung; and startGrace what a machine may take to begin the first one.
const (
	grace      = 10 * time.Second
	startGrace = 3 * time.Minute // a large root file system on a busy computer
)

var (
	errHung  = errors.New("hung: no sign of life")
	errBegin = errors.New("did not begin")
)

func (b Batch) driverArgs() []string {
	var args []string
	for _, p := range b.Programs {
		args = append(args, "-t", strconv.FormatInt(max(1, p.Timeout.Milliseconds()), 10), p.Name, guestFolder+"/"+p.place())
	}
	return args
}

// watch follows the driver's frames and ends the context when they stop coming.
type watch struct {
	*frames
	timer    *time.Timer
	timeouts map[string]time.Duration
}

func newWatch(b Batch, cancel context.CancelCauseFunc, report func(Result)) *watch {
	w := &watch{frames: &frames{report: report}, timeouts: map[string]time.Duration{}}
	for _, p := range b.Programs {
		w.timeouts[p.Name] = p.Timeout
	}
	w.timer = time.AfterFunc(startGrace, func() { cancel(errHung) })
	w.begun = func(name string) { w.timer.Reset(w.timeouts[name] + grace) }
	return w
}

func (w *watch) Write(b []byte) (int, error) {
	n, err := w.frames.Write(b)
	if w.name == "" && w.timer.Stop() {
		w.timer.Reset(grace)
	}
	return n, err
}

// Linux runs programs on the Linux that this process runs on.
type Linux struct{}

// Run implements Machine.
func (Linux) Run(ctx context.Context, b Batch, report func(Result)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatch(b, cancel, report)
	defer w.timer.Stop()
	var said bytes.Buffer
	args := []string{"-i", b.Root, b.Folder}
	if b.Trace {
		args = append(args, "-s")
	}
	c := exec.CommandContext(ctx, b.Folder+"/.driver", append(args, b.driverArgs()...)...)
	c.Stdout, c.Stderr = w, &said
	c.WaitDelay = 5 * time.Second
	err := c.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("the driver on Linux: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return w.check()
}

// Ringo runs programs in a guest on this machine's /dev/kvm, a new one for each batch.
type Ringo struct {
	Log io.Writer // takes the kernels' messages when not nil
}

// Run implements Machine.
func (r Ringo) Run(ctx context.Context, b Batch, report func(Result)) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatch(b, cancel, func(res Result) { report(res) })
	defer w.timer.Stop()
	var last *Result
	w.report = func(res Result) { // one behind, to know what the kernel lacked
		if last != nil {
			report(*last)
		}
		last = &res
	}
	var said bytes.Buffer
	o := guest.Options{
		CPUs: b.CPUs, Memory: b.Memory, Kernel: b.Kernel, Initrd: b.Initrd,
		Program: append([]string{guestDriver, "-g"}, b.driverArgs()...),
		Env:     []string{"PATH=/bin"},
		Stdout:  w, Stderr: &said, Log: r.Log,
	}
	var log bytes.Buffer
	if b.Trace {
		o.CommandLine, o.Log = "strace debug=htrace", &log // the second is for the report of a crash
	}
	o.Add = append(o.Add, guest.Addition{Host: b.Folder + "/.driver", Guest: guestDriver})
	for i, p := range b.Programs {
		if i == 0 || b.Programs[i-1].place() != p.place() {
			o.Add = append(o.Add, guest.Addition{Host: p.Path, Guest: guestFolder + "/" + p.place()})
		}
	}
	for _, f := range b.Files {
		o.Add = append(o.Add, guest.Addition{Host: b.Folder + "/" + f, Guest: guestFolder + "/" + f})
	}
	var found bytes.Buffer
	var err error
	if o.Debug, err = b.guardOptions(&found); err != nil {
		return err
	}
	turns := newTurner(b.Programs)
	if turns != nil {
		o.Live = turns.live
		begun := w.begun
		w.begun = func(name string) {
			begun(name)
			turns.begun(name)
		}
	}
	outcome, err := guest.Run(ctx, o)
	if turns != nil {
		err = errors.Join(err, turns.failed())
	}
	guard := watched(outcome, found.Bytes())
	if err == nil {
		err = w.check()
		if outcome.Status != 0 {
			err = errors.Join(err, fmt.Errorf("the driver ended with status %d: %s", outcome.Status, bytes.TrimSpace(said.Bytes())))
		}
	}
	if outer.Err() != nil {
		return context.Cause(outer)
	}
	if last != nil {
		if w.name == "" {
			last.Missing = outcome.Missing
		}
		last.Calls = kernelCalls(&log)
		if w.name == "" {
			last.Guard = guard
			if guard != nil && guard.Reports > 0 {
				last.Report = guard.Text
			}
		}
		report(*last)
	}
	if err == nil {
		return nil
	}
	text := err.Error()
	if len(outcome.Log) > 0 {
		text += "\n--- kernel log ---\n" + string(outcome.Log)
	}
	var crash *guest.CrashError
	if errors.As(err, &crash) {
		text += "\n" + crash.Report
	}
	if w.name == "" { // between programs, or before the first
		if last == nil && reports.FellToQEMU(text) {
			report(Result{Name: b.Programs[0].Name, How: Crashed, Report: errBegin.Error() + ": " + text})
			return nil
		}
		if crash == nil || last == nil {
			return errors.New(text)
		}
		// The next program in turn is the one the guest could not begin.
		for i, p := range b.Programs {
			if p.Name == last.Name && i+1 < len(b.Programs) {
				report(Result{Name: b.Programs[i+1].Name, How: Crashed, Report: errBegin.Error() + ": " + text})
			}
		}
		return nil
	}
	how := Crashed
	if errors.Is(err, errHung) {
		how = TimedOut
	}
	report(Result{Name: w.name, Stdout: w.out.Bytes(), Stderr: w.err.Bytes(), How: how, Took: time.Since(w.since), Report: text, Calls: kernelCalls(&log), Guard: guard})
	return nil
}
