package guest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"ringo/debug/gdb"
	"ringo/debug/hit"
	"ringo/debug/trace"
	"ringo/internal/pagetable"
	"ringo/vmm/control"
)

// monitorCommand is one for gdb's `monitor`.
type monitorCommand struct {
	usage, help string
	// run has the words behind the name. The guest stands still.
	run func(d *debugger, t gdb.ThreadID, args []string, print func(string)) error
}

// monitorCommands are by name; `help` is Monitor's own.
func monitorCommands() map[string]monitorCommand {
	return map[string]monitorCommand{
		"info":       {"info version", "what runs here", (*debugger).monitorInfo},
		"tasks":      {"tasks", "the tasks of the kernel", (*debugger).monitorTasks},
		"bt":         {"bt task TID | bt", "the stack of a sleeping task, or all stacks", (*debugger).monitorBacktrace},
		"v2p":        {"v2p ADDR", "how an address translates, as the chosen thread sees it", (*debugger).monitorTranslate},
		"xp":         {"xp GPA [BYTES]", "guest-physical memory", (*debugger).monitorPhysical},
		"who":        {"who GPA", "what the frame at a guest-physical address is, to the kernel's allocator", (*debugger).monitorWho},
		"watch":      {"watch [SPEC | stack task TID]", "tell of every access to SYMBOL|ADDR|phys:ADDR[,len=N][,access=w|rw][,if=EXPR][,log|stop], or list watches", (*debugger).monitorWatch},
		"unwatch":    {"unwatch N", "end a watch of this gdb", (*debugger).monitorUnwatch},
		"guard":      {"guard [stacks=detect|stacks=attribute|off]", "the stack guard: switch it, or what it has seen", (*debugger).monitorGuard},
		"trace":      {"trace [N] [task TID]", "the last N events of the flight recorder (20)", (*debugger).monitorTrace},
		"exits":      {"exits", "the last exits of each vCPU", (*debugger).monitorExits},
		injectNMI:    {injectNMI + " [VCPU]", alarmHelp(injectNMI, "a non-maskable interrupt"), injector(injectNMI)},
		injectSError: {injectSError + " [VCPU]", alarmHelp(injectSError, "an SError"), injector(injectSError)},
		"reset":      {"reset", "not here: a machine runs once", (*debugger).monitorReset},
		"save-core":  {"save-core FILE", "write an ELF core file, on the side of the monitor", (*debugger).monitorCore},
	}
}

// errMonitor is a command that makes no sense.
var errMonitor = errors.New("monitor")

// Monitor implements gdb.Target.
func (d *debugger) Monitor(t gdb.ThreadID, command string, print func(string)) error {
	words, commands := strings.Fields(command), monitorCommands()
	if len(words) == 0 || words[0] == "help" {
		for _, name := range slices.Sorted(maps.Keys(commands)) {
			c := commands[name]
			print(fmt.Sprintf("%-30s %s\n", c.usage, c.help))
		}
		return nil
	}
	c, ok := commands[words[0]]
	if !ok {
		return fmt.Errorf("%w: there is no command %q; monitor help lists them", errMonitor, words[0])
	}
	return c.run(d, t, words[1:], print)
}

func (d *debugger) usage(name string) error {
	return fmt.Errorf("%w: want: monitor %s", errMonitor, monitorCommands()[name].usage)
}

func number(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q is not a number like 0x1000", errMonitor, text)
	}
	return n, nil
}

// monitorInfo answers `info version`, by which Linux's gdb scripts know that thread N is CPU N-1.
func (d *debugger) monitorInfo(_ gdb.ThreadID, args []string, print func(string)) error {
	if len(args) != 1 || args[0] != "version" {
		return fmt.Errorf("%w: want: monitor info version", errMonitor)
	}
	print(fmt.Sprintf("ringo monitor, %s guest, %d vCPUs, %d MiB\n", hostArch, d.l.g.o.CPUs, d.l.g.o.Memory>>20))
	return nil
}

func (d *debugger) monitorTasks(_ gdb.ThreadID, _ []string, print func(string)) error {
	tasks, err := d.l.Tasks()
	if err != nil {
		return err
	}
	print(fmt.Sprintf("%6s %6s %-16s %-8s %3s %s\n", "TID", "PID", "NAME", "STATE", "CPU", "IN"))
	for _, t := range tasks {
		cpu := "-"
		if t.CPU >= 0 {
			cpu = strconv.Itoa(t.CPU)
		}
		print(fmt.Sprintf("%6d %6d %-16s %-8s %3s %s\n", t.TID, t.PID, t.Name, t.State, cpu, t.Call))
	}
	return nil
}

func (d *debugger) monitorBacktrace(_ gdb.ThreadID, args []string, print func(string)) error {
	want := ""
	switch {
	case len(args) == 2 && args[0] == "task":
		want = "task " + args[1] + " "
	case len(args) != 0:
		return d.usage("bt")
	}
	b, err := d.l.Backtrace()
	if err != nil {
		return err
	}
	found := false
	for _, s := range b.Stacks {
		if !strings.HasPrefix(s.Name, want) {
			continue
		}
		found = true
		print(fmt.Sprintf("%s, %s %s\n", s.Name, s.State, s.Error))
		for i, f := range s.Frames {
			print(fmt.Sprintf("    #%-2d %s\n", i, f))
		}
	}
	if !found {
		return fmt.Errorf("%w: no sleeping task %s", errMonitor, args[1])
	}
	return nil
}

func (d *debugger) monitorTranslate(t gdb.ThreadID, args []string, print func(string)) error {
	if len(args) != 1 {
		return d.usage("v2p")
	}
	gva, err := number(args[0])
	if err != nil {
		return err
	}
	r, err := d.as(t)
	if err != nil {
		return err
	}
	w := d.m.Memory().Walk(r, gva)
	print(w.String() + "\n")
	if w.Result == pagetable.WalkMapped && d.m.Memory().Check(w.PA, 1) != nil {
		print("not RAM\n")
	}
	return nil
}

// maxPhysical is the most that xp prints, in bytes.
const maxPhysical = 4096

func (d *debugger) monitorPhysical(_ gdb.ThreadID, args []string, print func(string)) error {
	if len(args) < 1 || len(args) > 2 {
		return d.usage("xp")
	}
	gpa, err := number(args[0])
	n := uint64(64)
	if err == nil && len(args) == 2 {
		n, err = number(args[1])
	}
	if err != nil {
		return err
	}
	p := make([]byte, min(n, maxPhysical))
	got := d.m.Memory().Peek(gpa, p)
	if got == 0 {
		return fmt.Errorf("%w: GPA %#x is not RAM", errMonitor, gpa)
	}
	for i, line := range strings.Split(strings.TrimRight(hex.Dump(p[:got]), "\n"), "\n") {
		_, rest, _ := strings.Cut(line, " ")
		print(fmt.Sprintf("%012x %s\n", gpa+uint64(16*i), rest))
	}
	return nil
}

func (d *debugger) monitorWho(_ gdb.ThreadID, args []string, print func(string)) error {
	if len(args) != 1 {
		return d.usage("who")
	}
	gpa, err := number(args[0])
	if err != nil {
		return err
	}
	w, err := d.l.window()
	if err != nil {
		return err
	}
	f, ok := w.Frame(gpa)
	if !ok {
		return fmt.Errorf("%w: GPA %#x is no frame of the kernel's allocator", errMonitor, gpa)
	}
	print(fmt.Sprintf("frame %#x: %s, %d references\n", f.GPA, f.Owner, f.Refs))
	table, _ := d.l.Symbols()
	for _, side := range []struct {
		what  string
		at    uint64
		task  uint32
		stack []uint32
	}{{"allocated", f.History.Allocated, f.History.AllocTask, f.History.AllocStack[:]}, {"freed", f.History.Freed, f.History.FreeTask, f.History.FreeStack[:]}} {
		if side.at == 0 {
			continue
		}
		print(fmt.Sprintf("%s by task %d\n", side.what, side.task))
		for _, off := range side.stack {
			if off == 0 {
				break
			}
			s, _ := table.Lookup(w.Header.KernelVirt + uint64(off) - 1)
			print(fmt.Sprintf("    %s\n", s))
		}
	}
	return nil
}

// noteWriter shows text in gdb once the guest runs.
type noteWriter struct{ d *debugger }

func (w noteWriter) Write(p []byte) (int, error) {
	w.d.note(string(p))
	return len(p), nil
}

func (d *debugger) monitorWatch(_ gdb.ThreadID, args []string, print func(string)) error {
	switch {
	case len(args) == 0:
		for _, id := range slices.Sorted(maps.Keys(d.watches)) {
			u := d.watches[id]
			print(fmt.Sprintf("%d: %s [%s]\n", id, u.spec.Text, d.owner.Engine(u.w)))
		}
		return nil
	}
	spec, err := d.l.expand(strings.Join(args, " "))
	if err != nil {
		return err
	}
	u, err := d.l.g.watches.add(spec, noteWriter{d}, func(w *hit.Write) { d.stand(gdb.Stop{CPU: w.VCPU}) })
	if err != nil {
		return err
	}
	d.watches[u.w.ID] = u
	print(fmt.Sprintf("watch %d: %s [%s]; monitor unwatch %d ends it\n", u.w.ID, u.spec.Text, d.owner.Engine(u.w), u.w.ID))
	return nil
}

func (d *debugger) monitorUnwatch(_ gdb.ThreadID, args []string, _ func(string)) error {
	if len(args) != 1 {
		return d.usage("unwatch")
	}
	n, err := number(args[0])
	if err != nil {
		return err
	}
	u := d.watches[int(n)]
	if u == nil {
		return fmt.Errorf("%w: this gdb has no watch %d", errMonitor, n)
	}
	delete(d.watches, int(n))
	return d.l.g.watches.remove(u)
}

func (d *debugger) monitorGuard(_ gdb.ThreadID, args []string, print func(string)) error {
	switch len(args) {
	case 0:
	case 1:
		if err := d.l.SetGuard(args[0]); err != nil {
			return err
		}
	default:
		return d.usage("guard")
	}
	mode, c := d.l.Guard()
	print(fmt.Sprintf("guard stacks=%s: %d sleeps watched or compared, %d reports, %d events dropped\n", mode, c.Sleeps, len(d.l.Findings()), c.Dropped))
	return nil
}

// traceDefault is how many events monitor trace shows.
const traceDefault = 20

func (d *debugger) monitorTrace(_ gdb.ThreadID, args []string, print func(string)) error {
	f := trace.Filter{Last: traceDefault}
	if len(args) > 0 && args[0] != "task" {
		n, err := number(args[0])
		if err != nil {
			return err
		}
		f.Last, args = int(min(n, 100_000)), args[1:]
	}
	switch {
	case len(args) == 2 && args[0] == "task":
		n, err := number(args[1])
		if err != nil {
			return err
		}
		f.Task = uint32(n)
	case len(args) > 0:
		return d.usage("trace")
	}
	if d.l.g.trace.Size == 0 {
		return errTraceOff
	}
	t, err := d.l.g.readTrace()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoTrace, err)
	}
	table, _ := d.l.Symbols()
	var b strings.Builder
	// A strings.Builder takes every write.
	_ = t.Select(f).WriteText(&b, t, table)
	_ = t.WriteSummary(&b)
	print(b.String())
	return nil
}

func (d *debugger) monitorExits(_ gdb.ThreadID, _ []string, print func(string)) error {
	for _, s := range d.m.CPUStates() {
		print(fmt.Sprintf("vCPU %d, the last of %d exits\n", s.ID, s.Total))
		for _, e := range s.Exits {
			print(fmt.Sprintf("    %s\n", e))
		}
	}
	return nil
}

// The commands that end a kernel which does not answer, with its own report of what a vCPU was doing. Each makes sense on one architecture.
const (
	injectNMI    = "inject-nmi"
	injectSError = "inject-serror"
)

// injectHere is the one that this architecture has.
var injectHere = map[string]string{"NMI": injectNMI, "SError": injectSError}[alarm]

func alarmHelp(name, what string) string {
	if name != injectHere {
		return "not on " + hostArch + ": " + injectHere
	}
	return what + " for a vCPU (0) when the guest goes on: the kernel reports and ends"
}

func injector(name string) func(d *debugger, t gdb.ThreadID, args []string, print func(string)) error {
	return func(d *debugger, _ gdb.ThreadID, args []string, print func(string)) error {
		if name != injectHere {
			return fmt.Errorf("%w: %s has no %s; monitor %s does what it is for", errMonitor, hostArch, strings.TrimPrefix(name, "inject-"), injectHere)
		}
		cpu := uint64(0)
		switch len(args) {
		case 0:
		case 1:
			var err error
			if cpu, err = number(args[0]); err != nil {
				return err
			}
		default:
			return d.usage(name)
		}
		if cpu >= uint64(d.m.CPUs()) {
			return fmt.Errorf("%w: there is no vCPU %d, there are %d", errMonitor, cpu, d.m.CPUs())
		}
		if err := d.m.RaiseAlarm(int(cpu)); err != nil {
			return err
		}
		print(fmt.Sprintf("vCPU %d takes the %s when the guest goes on\n", cpu, alarm))
		return nil
	}
}

// monitorReset is what other monitors have.
func (d *debugger) monitorReset(gdb.ThreadID, []string, func(string)) error {
	return fmt.Errorf("%w: a machine runs once, its kernel and initramfs are not there a second time: vmm stop, and start it again", errMonitor)
}

func (d *debugger) monitorCore(_ gdb.ThreadID, args []string, print func(string)) error {
	if len(args) != 1 {
		return d.usage("save-core")
	}
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(d.l.Core(f), f.Close()); err != nil {
		os.Remove(args[0])
		return err
	}
	print("wrote " + args[0] + "\n")
	return nil
}

var _ gdb.Target = (*debugger)(nil)
var _ control.Guest = (*Live)(nil)
