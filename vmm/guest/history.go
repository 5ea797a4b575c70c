package guest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"ringo/debug/report"
	"ringo/debug/symbols"
	"ringo/debug/trace"
	"ringo/internal/debugwindow"
	"ringo/internal/pagetable"
	"ringo/internal/tracewindow"
)

// frameWord makes the kernel keep a history of its frames, in debug=A,B,... on its command line.
const frameWord = "frames"

// How much of the past a finding quotes: of the last recentEvents of each CPU those of the writer and those that concern the frame.
const (
	recentEvents  = 4096
	quotedEvents  = 8
	quotedFrames  = 4
	searchedBytes = 64 << 10 // of each buffer that a system call's arguments may point to
)

// before is stackguard.Config.History: what the allocator's records and the flight recorder say about the frame at gpa and about what task
// tid did last, oldest first. Without debug=frames and debug=htrace there is nothing.
func (g *guest) before(tid int, gpa uint64) (lines []string) {
	table, _ := g.symbols()
	w, err := debugwindow.Open(g.m.Memory(), g.debug.Base, g.debug.Size)
	if err != nil {
		return nil
	}
	if f, ok := w.Frame(gpa); ok {
		lines = frameLines(w, &f, table)
	}
	return append(lines, g.recent(w, table, tid, gpa)...)
}

// plain is for reports, which are narrow and ASCII.
var plain = strings.NewReplacer("ringo/guestkernel/", "", "\u00b5s", "us")

// frameLines are the allocator's record of a frame.
func frameLines(w *debugwindow.Window, f *debugwindow.Frame, table *symbols.Table) (lines []string) {
	h := &f.History
	type side struct {
		what  string
		at    uint64
		task  uint32
		stack []uint32
	}
	sides := []side{{"allocated", h.Allocated, h.AllocTask, h.AllocStack[:]}, {"freed", h.Freed, h.FreeTask, h.FreeStack[:]}}
	slices.SortStableFunc(sides, func(a, b side) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	for _, s := range sides {
		if s.at == 0 {
			continue
		}
		text := fmt.Sprintf("frame %#x %s at t = %.6f s", f.GPA, s.what, float64(w.At(s.at))/1e9)
		if s.what == "allocated" && uint32(h.AllocOwner) < w.Header.Frames.NumOwners {
			text += fmt.Sprintf(" for %s", debugwindow.Printable(w.Header.Frames.Owners[h.AllocOwner][:]))
		}
		if s.task != 0 {
			text += fmt.Sprintf(" by task %d", s.task)
		}
		var path []string
		for _, off := range s.stack {
			if sym, ok := table.Lookup(w.Header.KernelVirt + uint64(off) - 1); ok && off != 0 {
				path = append(path, fmt.Sprintf("%s:%d", report.Unqualified(sym.Function), sym.Line))
			}
		}
		if len(path) > 0 {
			text += " in " + strings.Join(path, " <- ")
		}
		lines = append(lines, text)
	}
	return lines
}

// recent are the flight recorder's last events of a task, and the last ones about a frame.
func (g *guest) recent(w *debugwindow.Window, table *symbols.Table, tid int, gpa uint64) (lines []string) {
	r, err := trace.NewReader(g.m.Memory(), g.trace.Base, g.trace.Size)
	if err != nil {
		return nil
	}
	t := r.Last(recentEvents)
	var owners []string
	for _, o := range w.Header.Frames.Owners[:w.Header.Frames.NumOwners] {
		owners = append(owners, debugwindow.Printable(o[:]))
	}
	t.SetOwners(owners)
	var chosen []tracewindow.Event
	frames, tasks := 0, 0
	for _, e := range slices.Backward(t.Events) {
		switch about := e.Kind == tracewindow.FrameAlloc || e.Kind == tracewindow.FrameFree; {
		case about && gpa-e.Args[0] < 4096<<min(e.Args[1], 20) && frames < quotedFrames:
			frames++
		case !about && tid != 0 && e.Task == uint32(tid) && tasks < quotedEvents:
			tasks++
		default:
			continue
		}
		chosen = append(chosen, e)
	}
	slices.Reverse(chosen)
	all := *t
	t.Events = chosen
	var b bytes.Buffer
	_ = t.WriteText(&b, &all, table) // a bytes.Buffer takes every write
	for line := range strings.Lines(b.String()) {
		lines = append(lines, plain.Replace(strings.Join(strings.Fields(line), " ")))
	}
	return lines
}

// came says where the bytes of a write may have come from: nothing, a pattern, or memory that the writer's system call was given. ""
// when none of that is found.
func (g *guest) came(e *report.Event) string {
	if e.Kind != report.KindWrite || len(e.New) < 4 {
		return ""
	}
	if text := patternOf(e.New); text != "" {
		return text
	}
	if e.VCPU < 0 || e.Task == nil {
		return ""
	}
	needle := e.New[:min(len(e.New), 32)]
	w, err := debugwindow.Open(g.m.Memory(), g.debug.Base, g.debug.Size)
	if err != nil || len(needle) < 8 {
		return ""
	}
	regs, err := g.m.Registers(e.VCPU)
	if err != nil {
		return ""
	}
	for _, entry := range w.Tasks() {
		nr, in := entry.Syscall()
		if int(entry.TID) != e.Task.ID || !in || entry.State == debugwindow.TaskDead {
			continue
		}
		read := func(addr uint64) []byte { return g.m.Memory().ReadVirtual(regs, addr, searchedBytes) }
		if text := inBuffers(needle, entry.Args, read); text != "" {
			return text + " of " + syscallName(nr) + "(2)"
		}
	}
	return ""
}

// inBuffers looks for bytes in the user memory that a system call's arguments may point to.
func inBuffers(needle []byte, args [6]uint64, read func(addr uint64) []byte) string {
	for i, arg := range args {
		if arg == 0 || arg >= pagetable.UserEnd {
			continue
		}
		if at := bytes.Index(read(arg), needle); at >= 0 {
			return fmt.Sprintf("the first %d bytes stand in user memory too, at %#x: %#x bytes into argument %d", len(needle), arg+uint64(at), at, i+1)
		}
	}
	return ""
}

// patternOf says that bytes are one value again and again.
func patternOf(b []byte) string {
	for _, n := range []int{1, 2, 4, 8} {
		if len(b) < 2*n || !bytes.Equal(b[n:], b[:len(b)-n]) {
			continue
		}
		var word [8]byte
		copy(word[:], b[:n])
		v := binary.LittleEndian.Uint64(word[:])
		switch {
		case v == 0:
			return "zeroes: somebody clears memory, or memory that was cleared is copied"
		case n == 1:
			return fmt.Sprintf("the byte %#02x again and again: memory is being filled", v)
		}
		return fmt.Sprintf("0x%0*x again and again: memory is being filled with words of %d bytes", 2*n, v, n)
	}
	return ""
}
