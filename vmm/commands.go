package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"ringo/vmm/control"
)

// controlCommands are the commands about running guests.
type controlCommands struct {
	PS      psCommand      `cmd:"" name:"ps" help:"List running guests."`
	Attach  attachCommand  `cmd:"" help:"Look at a running guest's console and type into it; Ctrl-] leaves."`
	BT      btCommand      `cmd:"" name:"bt" help:"Print the stacks of a running guest's vCPUs and tasks."`
	Tasks   tasksCommand   `cmd:"" help:"List the tasks of a running guest's kernel."`
	Dump    dumpCommand    `cmd:"" help:"Write an ELF core file of a running guest, for gdb and dlv."`
	Watch   watchCommand   `cmd:"" help:"Print every access to a variable or address of a running guest, until Ctrl-C."`
	Guard   guardCommand   `cmd:"" help:"Switch a running guest's stack guard: stacks=detect, stacks=attribute, off."`
	Top     topCommand     `cmd:"" help:"Show what KVM does for a running guest: exits and their times, page faults."`
	Profile profileCommand `cmd:"" help:"Show in which functions of the kernel a running guest spends its time."`
	GDB     gdbCommand     `cmd:"" name:"gdb" help:"Speak the GDB remote protocol on standard input and output: in gdb, target remote | vmm gdb NAME."`
	Pause   pauseCommand   `cmd:"" help:"Make a running guest stand still."`
	Resume  resumeCommand  `cmd:"" help:"Let a paused guest go on."`
	Stop    stopCommand    `cmd:"" help:"End running guests at once."`
}

// client is a client of the guest of that name.
func client(name string) (*control.Client, error) {
	d, err := control.OpenDir()
	if err != nil {
		return nil, err
	}
	if _, err := d.Find(name); err != nil {
		return nil, err
	}
	return control.NewClient(d, name), nil
}

// interruptible ends with Ctrl-C and its kind.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

type guestName struct {
	Name string `arg:"" help:"Name of a running guest, as vmm ps lists them."`
}

func (g *guestName) post(path string) error {
	c, err := client(g.Name)
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	return c.Post(ctx, path, nil, nil)
}

func (g *guestName) get(path string, answer any) error {
	c, err := client(g.Name)
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	return c.Get(ctx, path, answer)
}

type pauseCommand struct{ guestName }

// Run is what kong calls, as with all commands.
func (c *pauseCommand) Run() error { return c.post("/v1/pause") }

type resumeCommand struct{ guestName }

// Run is what kong calls.
func (c *resumeCommand) Run() error { return c.post("/v1/resume") }

type stopCommand struct {
	Names []string `arg:"" name:"name" help:"Names of running guests."`
}

// Run is what kong calls.
func (c *stopCommand) Run() error {
	var errs []error
	for _, name := range c.Names {
		errs = append(errs, (&guestName{name}).post("/v1/stop"))
	}
	return errors.Join(errs...)
}

type psCommand struct {
	JSON bool `name:"json" help:"Write JSON lines."`
}

// psTime is how long ps waits for a guest's monitor.
const psTime = 5 * time.Second

// Run is what kong calls.
func (c *psCommand) Run() error {
	d, err := control.OpenDir()
	if err != nil {
		return err
	}
	entries, err := d.List()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), psTime)
	defer cancel()
	infos := make([]*control.Info, len(entries))
	var asking sync.WaitGroup
	for i, e := range entries {
		asking.Go(func() {
			info := &control.Info{}
			switch err := control.NewClient(d, e.Name).Get(ctx, "/v1/info", info); {
			case errors.Is(err, control.ErrEnded):
				return
			case err != nil:
				*info = control.Info{State: control.StateStarting}
			}
			info.Name, info.PID = e.Name, e.PID
			infos[i] = info
		})
	}
	asking.Wait()
	infos = slices.DeleteFunc(infos, func(i *control.Info) bool { return i == nil })
	if c.JSON {
		return writeJSONLines(os.Stdout, infos)
	}
	return writePS(os.Stdout, infos, time.Now())
}

func writePS(w io.Writer, infos []*control.Info, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tARCH\tPID\tCPUS\tMEM\tUP\tSTATE\tPROGRAM")
	for _, i := range infos {
		up := "-"
		if !i.Since.IsZero() {
			up = now.Sub(i.Since).Round(time.Second).String()
		}
		program := strings.Join(i.Program, " ")
		if len(i.Program) == 0 && i.State != control.StateStarting {
			program = "/bin/sh"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%dM\t%s\t%s\t%s\n", i.Name, i.Arch, i.PID, i.CPUs, i.Memory>>20, up, i.State, printable(program))
	}
	return t.Flush()
}

// printable is text from a guest or its user, without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

type btCommand struct {
	guestName
	JSON bool `name:"json" help:"Write JSON."`
}

// Run is what kong calls.
func (c *btCommand) Run() error {
	var b control.Backtrace
	if err := c.get("/v1/backtrace", &b); err != nil {
		return err
	}
	if c.JSON {
		return writeJSONLines(os.Stdout, []control.Backtrace{b})
	}
	return writeBacktrace(os.Stdout, b)
}

func writeBacktrace(w io.Writer, b control.Backtrace) error {
	var out strings.Builder
	for i, s := range b.Stacks {
		if i > 0 {
			fmt.Fprintln(&out)
		}
		fmt.Fprint(&out, printable(s.Name))
		if s.State != "" {
			fmt.Fprint(&out, ", ", printable(s.State))
		}
		fmt.Fprintln(&out)
		if s.Error != "" {
			fmt.Fprintln(&out, "    no stack:", s.Error)
		}
		for n, f := range s.Frames {
			fmt.Fprintf(&out, "    #%-2d %s\n", n, f)
		}
	}
	if b.NoNames != "" {
		fmt.Fprintln(&out, "\nno names:", b.NoNames)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

type tasksCommand struct {
	guestName
	JSON bool `name:"json" help:"Write JSON lines."`
}

// Run is what kong calls.
func (c *tasksCommand) Run() error {
	var tasks []control.Task
	if err := c.get("/v1/tasks", &tasks); err != nil {
		return err
	}
	if c.JSON {
		return writeJSONLines(os.Stdout, tasks)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "TID\tPID\tNAME\tSTATE\tCPU\tIN\tFOR")
	for _, k := range tasks {
		cpu, call, since := "-", "-", "-"
		if k.CPU >= 0 {
			cpu = fmt.Sprint(k.CPU)
		}
		if k.Call != "" {
			call = k.Call
		}
		if k.Asleep > 0 {
			since = k.Asleep.Round(time.Microsecond).String()
		}
		fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s\t%s\t%s\n", k.TID, k.PID, printable(k.Name), k.State, cpu, printable(call), since)
	}
	return t.Flush()
}

type dumpCommand struct {
	guestName
	File string `arg:"" help:"Where to write the core file; it must not exist."`
}

// Run is what kong calls. The file appears when it is complete.
func (c *dumpCommand) Run() error {
	cl, err := client(c.Name)
	if err != nil {
		return err
	}
	if exists(c.File) {
		return fmt.Errorf("%s exists", c.File)
	}
	ctx, cancel := interruptible()
	defer cancel()
	core, err := cl.Stream(ctx, "/v1/core")
	if err != nil {
		return err
	}
	defer core.Close()
	f, err := os.CreateTemp(filepath.Dir(c.File), filepath.Base(c.File)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(&sparseWriter{f: f}, core)
	if err == nil {
		err = f.Truncate(n) // the end may be a hole
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", c.File, err)
	}
	return os.Rename(f.Name(), c.File)
}

// sparseWriter leaves holes where whole pages are zero: most of a guest's memory is.
type sparseWriter struct{ f *os.File }

func (s *sparseWriter) Write(p []byte) (int, error) {
	if !slices.ContainsFunc(p, func(b byte) bool { return b != 0 }) {
		_, err := s.f.Seek(int64(len(p)), io.SeekCurrent)
		return len(p), err
	}
	return s.f.Write(p)
}

type attachCommand struct{ guestName }

// detachKey is Ctrl-], telnet's.
const detachKey = 0x1d

// Run is what kong calls.
func (c *attachCommand) Run() error {
	cl, err := client(c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	var info control.Info
	if err := cl.Get(ctx, "/v1/info", &info); err != nil {
		return err
	}
	conn, err := cl.Upgrade(ctx, "/v1/console")
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	in := int(os.Stdin.Fd())
	if term.IsTerminal(in) {
		fmt.Fprintf(os.Stderr, "attached to %s; Ctrl-] leaves\r\n", c.Name)
		if info.Terminal {
			state, err := term.MakeRaw(in)
			if err != nil {
				return fmt.Errorf("terminal: %w", err)
			}
			defer term.Restore(in, state)
		}
	}
	left := make(chan struct{})
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := os.Stdin.Read(b)
			typed := b[:n]
			at := slices.Index(typed, detachKey)
			if at >= 0 {
				typed = typed[:at]
			}
			if _, werr := conn.Write(typed); werr != nil {
				return
			}
			if at >= 0 {
				close(left)
				conn.Close()
				return
			}
			if err != nil {
				return // looking goes on
			}
		}
	}()
	_, err = io.Copy(os.Stdout, conn)
	select {
	case <-left:
		return nil
	default:
	}
	if ctx.Err() != nil {
		return exit(128 + int(syscall.SIGINT))
	}
	return err
}

func writeJSONLines[T any](w io.Writer, items []T) error {
	e := json.NewEncoder(w)
	for _, i := range items {
		if err := e.Encode(i); err != nil {
			return err
		}
	}
	return nil
}

type watchCommand struct {
	guestName
	Spec string `arg:"" help:"SYMBOL|ADDR|phys:ADDR[,len=N][,access=w|rw][,if=EXPR][,log|stop], as of run --watch, or 'stack task TID': what a sleeping task has on its stack."`
}

// Run is what kong calls.
func (c *watchCommand) Run() error {
	cl, err := client(c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	hits, err := cl.Stream(ctx, "/v1/watch?spec="+url.QueryEscape(c.Spec))
	if err != nil {
		return err
	}
	defer hits.Close()
	if _, err = io.Copy(os.Stdout, hits); ctx.Err() != nil {
		return nil
	}
	return err
}

type guardCommand struct {
	guestName
	Mode string `arg:"" help:"stacks=detect, stacks=attribute or off."`
}

// Run is what kong calls.
func (c *guardCommand) Run() error {
	cl, err := client(c.Name)
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	return cl.Post(ctx, "/v1/guard", map[string]string{"mode": c.Mode}, nil)
}
