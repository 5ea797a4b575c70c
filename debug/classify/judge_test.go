package classify

import (
	"strings"
	"testing"

	"ringo/debug/hit"
)

// The scene of all tests: task 1 sleeps on an 8 KiB stack; task 2's lies right above it, so that an
// overflow of task 2 runs down into task 1's frames.
const (
	victimLo = 0xffff_8000_0ff0_2000
	victimHi = victimLo + 0x2000
	victimSP = victimHi - 0xc18
	ownLo    = victimHi
	ownHi    = ownLo + 0x2000
	frameGPA = 0x0ff0_3000
)

// scene is a write by task 2, on its own stack, into the live part of task 1's: a wild write unless
// the test changes something.
func scene(change ...func(*Evidence)) *Evidence {
	e := &Evidence{
		Write: &hit.Write{
			Kind: hit.Store, Instruction: "mov qword ptr [rax], rcx", Len: 8, GVA: victimHi - 0x100, GPA: frameGPA + 0xf00,
			WholeGVA: victimHi - 0x100, WholeLen: 8, New: make([]byte, 8), PC: 0xffffffff80200000, Registers: hit.Registers{SP: ownLo + 0x1800},
		},
		AsVictim:    victimHi - 0x100,
		Victim:      Task{1, "init"},
		VictimStack: Stack{Span: Span{victimLo, victimHi}, SP: victimSP, Frame: 56, Top: 0x100, GuardSize: 64},
		Writer:      Task{2, "client"},
		Own:         []Span{{ownLo, ownHi}},
		Callers:     []string{"unixsocket.newStream", "unixsocket.(*Socket).Connect", "syscalls.sysConnect"},
		Walk:        Translation{Known: true, Mapped: true, GPA: frameGPA + 0xf00},
		Frame:       Frame{Owner: "kernel stack", Stack: true},
	}
	for _, c := range change {
		c(e)
	}
	return e
}

func write(change func(*hit.Write)) func(*Evidence) {
	return func(e *Evidence) { change(e.Write) }
}

// wideAt is one instruction that writes n bytes from at on, of which those from first on lie in the stack.
func wideAt(k hit.Kind, name string, at uint64, n int, first uint64) func(*Evidence) {
	return func(e *Evidence) {
		w := e.Write
		w.Kind, w.Instruction, w.WholeGVA, w.WholeLen, w.GVA = k, name+" [rdi]", at, n, first
		w.Len, e.AsVictim = n-int(first-at), first
	}
}

func TestRules(t *testing.T) {
	const heap = "kernel heap"
	for _, row := range []struct {
		name string
		e    *Evidence
		rule Rule
		says []string // all of them in the evidence
	}{
		{"on its own stack", scene(), R10, []string{`task 2 "client" runs on its own stack`, "unixsocket.newStream"}},
		{"another alias", scene(write(func(w *hit.Write) { w.GVA = 0xffff888000000000 + frameGPA })), R10, []string{"another alias of the memory, 0xffff88800ff03000"}},
		{"no symbols, nobody known", scene(func(e *Evidence) { e.Callers, e.Writer = nil, Task{} }), R10, []string{"an unknown task", "code without a symbol"}},

		// R1 and its neighbours.
		{"sp in the victim, below its own", scene(write(func(w *hit.Write) { w.Registers.SP = victimHi - 0x200 }), func(e *Evidence) {
			e.FrameSize, e.FrameOf = 16464, "unixsocket.newStream"
		}), R1, []string{"512 bytes below the stack of task 2", "newStream needs a frame of 16464 bytes, the stack has 8192", "in the sleeping stack itself"}},
		{"sp below the victim", scene(write(func(w *hit.Write) { w.Registers.SP = victimLo - 0x280 })), R1, []string{"8832 bytes below the stack of task 2"}},
		{"sp one byte below its own", scene(write(func(w *hit.Write) { w.Registers.SP = ownLo - 1 })), R1, []string{"1 bytes below"}},
		{"sp at its own lowest byte", scene(write(func(w *hit.Write) { w.Registers.SP = ownLo })), R10, nil},
		{"sp at its own end", scene(write(func(w *hit.Write) { w.Registers.SP = ownHi - 1 })), R10, nil},
		{"frame fits the stack", scene(write(func(w *hit.Write) { w.Registers.SP = ownLo - 8 }), func(e *Evidence) { e.FrameSize, e.FrameOf = 64, "f" }), R1, []string{"f needs a frame of 64 bytes"}},
		{"another of its stacks", scene(write(func(w *hit.Write) { w.Registers.SP = 0x5000 }), func(e *Evidence) { e.Own = append(e.Own, Span{0x4000, 0x6000}) }), R10, nil},
		{"sp too far for an overflow", scene(write(func(w *hit.Write) { w.Registers.SP = ownLo - maxOverflow - 8 })), R10, nil},
		{"sp of user mode says nothing", scene(write(func(w *hit.Write) { w.Registers.SP, w.Registers.User = 0x7000, true })), R3, nil},
		{"overflow wins over an allocator", scene(write(func(w *hit.Write) { w.Registers.SP = ownLo - 8 }), func(e *Evidence) { e.Callers[1] = "nucleus.allocFrames" }), R1, nil},
		{"nearest stack above", scene(write(func(w *hit.Write) { w.Registers.SP = ownLo - 8 }), func(e *Evidence) { e.Own = []Span{{ownHi + 0x1000, ownHi + 0x3000}, {ownLo, ownHi}} }), R1, []string{" 8 bytes below"}},

		{"frame saved before sp moves", scene(write(func(w *hit.Write) {
			w.Registers.SP, w.Registers.FP, w.New = ownLo+0x20, 0x0807060504030201, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9}
		})), R1, []string{"the new frame at 0xffff80000ff03f00 is 256 bytes below the stack of task 2"}},
		{"something else below sp", scene(write(func(w *hit.Write) { w.Registers.SP, w.Registers.FP = ownLo+0x20, 0x0807060504030201 })), R10, nil},
		{"push from its own lowest byte", scene(write(func(w *hit.Write) {
			w.Kind, w.Registers.SP, w.GVA, w.WholeGVA = hit.Push, ownLo, ownLo-8, ownLo-8
		}), func(e *Evidence) { e.AsVictim, e.Walk.GPA = ownLo-8, e.Write.GPA }), R1, []string{"the new frame at", "is 8 bytes below"}},
		{"push on its own stack", scene(write(func(w *hit.Write) {
			w.Kind, w.Registers.SP, w.GVA, w.WholeGVA = hit.Push, ownLo+64, ownLo+56, ownLo+56
		})), R10, nil},

		// R2
		{"backward rep", scene(write(func(w *hit.Write) { w.Kind, w.Registers.Backward, w.Instruction = hit.RepString, true, "rep stosq" })), R2, []string{"direction flag is set", "rep stosq wrote downwards, 8 bytes"}},
		{"forward rep", scene(write(func(w *hit.Write) { w.Kind, w.Instruction = hit.RepString, "rep stosq" })), R10, nil},
		{"flag without a string store", scene(write(func(w *hit.Write) { w.Registers.Backward = true })), R10, nil},
		{"backward in user mode is its right", scene(write(func(w *hit.Write) { w.Kind, w.Registers.Backward, w.Registers.User = hit.RepString, true, true })), R3, nil},

		// R3
		{"user mode", scene(write(func(w *hit.Write) { w.Registers.User, w.VCPU = true, 1 })), R3, []string{`mapped into task 2 "client"`}},
		{"user mode, tables disagree", scene(write(func(w *hit.Write) { w.Registers.User, w.GVA = true, 0x7f0000001000 }), func(e *Evidence) { e.Walk.GPA = 0x5000 }), R3, []string{"the page tables lead from 0x7f0000001000 to GPA 0x5000", "changed and not flushed"}},
		{"kernel, not mapped any more", scene(func(e *Evidence) { e.Walk = Translation{Known: true} }), R3, []string{"do not map"}},
		{"kernel, other page", scene(func(e *Evidence) { e.Walk.GPA += 0x1000 }), R3, []string{"CPU 0 used a translation"}},
		{"walk not made", scene(func(e *Evidence) { e.Walk = Translation{} }), R10, nil},
		{"address not known", scene(func(e *Evidence) { e.Walk.GPA, e.Write.GVA = 0, 0 }), R10, nil},
		{"stale before overflow", scene(write(func(w *hit.Write) { w.Registers.SP = ownLo - 8 }), func(e *Evidence) { e.Walk.GPA += 0x1000 }), R3, nil},

		// R4, R5, R9: what made the write is known, stack pointers do not matter.
		{"page walk", scene(write(func(w *hit.Write) { w.Kind, w.Registers.SP, w.VCPU = hit.PageWalk, victimSP, 1 })), R4, []string{"CPU 1 wrote it while it walked", "entry 480"}},
		{"event delivery", scene(write(func(w *hit.Write) { w.Kind, w.Registers.SP = hit.Delivery, victimSP })), R5, []string{"pushed an exception frame there", `the stack of task 1 "init"`}},
		{"device", scene(write(func(w *hit.Write) { w.Kind, w.Source, w.Registers.SP = hit.Device, "virtio-blk, queue 0, head 12", 0 })), R9, []string{"virtio-blk, queue 0, head 12"}},
		{"the monitor", scene(write(func(w *hit.Write) { w.Kind = hit.Device })), R9, []string{"by the monitor"}},
		{"KVM", scene(write(func(w *hit.Write) { w.Kind = hit.Host })), R9, []string{"by KVM itself"}},

		{"software interrupt", scene(write(func(w *hit.Write) { w.Instruction, w.Registers.SP = "int 0x21", 0x5000 })), R5, nil},
		{"no interrupt", scene(write(func(w *hit.Write) { w.Instruction = "integrate x" })), R10, nil},

		// R6
		{"the victim runs", scene(write(func(w *hit.Write) { w.Registers.SP = victimSP - 64 }), func(e *Evidence) { e.Writer = e.Victim }), R6, []string{"while the registry has it asleep"}},
		{"the victim runs elsewhere", scene(write(func(w *hit.Write) { w.Registers.SP = victimSP - 64 }), func(e *Evidence) { e.VictimRuns = true }), R6, nil},
		{"no way there by overflow", scene(write(func(w *hit.Write) { w.Registers.SP = victimSP - 64 }), func(e *Evidence) { e.Own = []Span{{0x4000, 0x6000}} }), R6, []string{"freed and given out again"}},
		{"no stack known", scene(write(func(w *hit.Write) { w.Registers.SP = victimSP - 64 }), func(e *Evidence) { e.Own = nil }), R6, nil},
		{"the victim writes from its own other stack", scene(func(e *Evidence) { e.Writer = e.Victim }), R10, nil},

		// R7
		{"allocator clears", scene(func(e *Evidence) { e.Callers = []string{"runtime.memclrNoHeapPointers", "nucleus.zeroFrame"} }), R7, []string{"nucleus.zeroFrame hands out memory"}},
		{"prezero of an idle task", scene(func(e *Evidence) { e.Callers = []string{"memset", "refill_prezeroed_pages"} }), R7, nil},
		{"prezero routine", scene(func(e *Evidence) { e.Callers = []string{"mm.prezeroPages"} }), R7, nil},
		{"method of an allocator", scene(func(e *Evidence) { e.Callers = []string{"nucleus.(*frames).allocBlock"} }), R7, nil},
		{"allocator far up the stack", scene(func(e *Evidence) { e.Callers = []string{"a.b", "c.d", "e.f", "nucleus.AllocFrames"} }), R10, nil},
		{"location is no allocation", scene(func(e *Evidence) { e.Callers = []string{"vfs.locate", "vfs.reallyCalled"} }), R10, nil},
		{"frame has a new owner", scene(func(e *Evidence) {
			e.Frame = Frame{Owner: heap, History: []Allocation{{"allocated", "nucleus.AllocFrames", Task{3, "dd"}, 2_500_000}}}
		}), R7, []string{"on record as kernel heap", `allocated by nucleus.AllocFrames in task 3 "dd" 2.500 ms before`}},
		{"frame owner not known", scene(func(e *Evidence) { e.Frame = Frame{} }), R10, nil},

		// R8
		{"vector store across the border", scene(wideAt(hit.Vector, "vmovdqu", victimLo-24, 32, victimLo)), R8, []string{"one vmovdqu stores 32 bytes", "the last 8 are beyond"}},
		{"xsave across the border", scene(wideAt(hit.XSave, "xsave64", victimLo-576, 832, victimLo)), R8, []string{"832 bytes", "the last 256"}},
		{"pair across the border", scene(wideAt(hit.Store, "stp", victimLo-8, 16, victimLo)), R8, []string{"one stp"}},
		{"vector store from unused stack into the frame", scene(wideAt(hit.Vector, "vmovdqu", victimSP-8, 32, victimSP-8), func(e *Evidence) { e.First = victimSP }), R8, []string{"the first 8 belong there, the last 24"}},
		{"vector store inside", scene(wideAt(hit.Vector, "vmovdqu", victimHi-0x400, 32, victimHi-0x400)), R10, nil},
		{"narrow store across the border", scene(wideAt(hit.Store, "mov", victimLo-4, 8, victimLo)), R10, nil},
		{"rep string across the border", scene(wideAt(hit.RepString, "rep stosb", victimLo-64, 128, victimLo)), R10, nil},
		{"extent not known", scene(write(func(w *hit.Write) { w.Kind, w.WholeLen = hit.Vector, 0 })), R10, nil},

		// Without a write.
		{"bad when saved", &Evidence{Armed: true, BadFrame: "RFLAGS bit 1 is 0", SavedBy: "ring0.switchTo"}, R0, []string{"RFLAGS bit 1 is 0", "saved by ring0.switchTo"}},
		{"engine missed it", &Evidence{Armed: true, Changed: true}, R0b, []string{"no write was reported"}},
		{"engine missed it, and the frame is bad", &Evidence{Armed: true, Changed: true, BadFrame: "x"}, R0b, nil},
		{"nobody watched", &Evidence{Changed: true}, RD, []string{"nothing watched this sleep in between"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := Judge(row.e)
			if v.Rule != row.rule {
				t.Fatalf("rule %s (%s), want %s: %q", v.Rule, v.Title, row.rule, v.Because)
			}
			if v.Title == "" || len(v.Because) == 0 {
				t.Errorf("no words: %+v", v)
			}
			text := strings.Join(v.Because, "\n")
			for _, want := range row.says {
				if !strings.Contains(text, want) {
					t.Errorf("the evidence does not say %q:\n%s", want, text)
				}
			}
		})
	}
}

func TestTitles(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range Rules() {
		if r.Title() == "" || seen[r.Title()] {
			t.Errorf("%s has no title of its own: %q", r, r.Title())
		}
		seen[r.Title()] = true
	}
}

func TestProvenance(t *testing.T) {
	value := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	other := []byte{8, 7, 6, 5, 4, 3, 2, 1}
	for _, row := range []struct {
		name  string
		wrote []byte
		cells []Cell
		want  string
	}{
		{"found", value, []Cell{{"[RDX]", 0x100, other}, {"[RSI]", 0x200, value}}, "[rsi] = 0x200: --watch 0x200,len=8"},
		{"not found", value, []Cell{{"[RSI]", 0x200, other}}, ""},
		{"zeroes have no source", make([]byte, 8), []Cell{{"[RSI]", 0x200, make([]byte, 8)}}, ""},
		{"too short to mean anything", value[:2], []Cell{{"[RSI]", 0x200, value}}, ""},
		{"the target itself", value, []Cell{{"[RDI]", victimHi - 0x100, value}}, ""},
		{"prefix of a copy", append(value, other...), []Cell{{"[RSI]", 0x200, value}}, "len=8"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := scene(write(func(w *hit.Write) { w.New = row.wrote }))
			e.Reachable = row.cells
			if got := Judge(e).Next; row.want == "" && got != "" || !strings.Contains(got, row.want) {
				t.Errorf("hint %q, want %q in it", got, row.want)
			}
		})
	}
}

func TestZones(t *testing.T) {
	s := Stack{Span: Span{0x1000, 0x3000}, SP: 0x2800, Frame: 0x38, Top: 0x100, GuardSize: 0x40}
	for _, row := range []struct {
		at, n uint64
		want  Zone
		first uint64
	}{
		{0xfff, 1, Outside, 0}, {0xff8, 8, Outside, 0}, {0xff8, 9, Guard, 0x1000}, {0x1000, 1, Guard, 0x1000}, {0x103f, 1, Guard, 0x103f},
		{0x1040, 8, Dead, 0x1040}, {0x27ff, 1, Dead, 0x27ff}, {0x27f8, 16, Saved, 0x2800}, {0x2837, 1, Saved, 0x2837},
		{0x2838, 8, Live, 0x2838}, {0x2eff, 1, Live, 0x2eff}, {0x2f00, 8, Top, 0x2f00}, {0x2ff8, 16, Top, 0x2ff8}, {0x3000, 8, Outside, 0},
		{0, 0x10000, Top, 0x2f00}, {0x2000, 0x900, Saved, 0x2800}, {^uint64(0) - 3, 16, Outside, 0}, {0x1000, 0, Outside, 0},
	} {
		if z, first := s.Worst(row.at, row.n); z != row.want || first != row.first {
			t.Errorf("%#x, %d bytes: %v from %#x, want %v from %#x", row.at, row.n, z, first, row.want, row.first)
		}
	}
	for z, want := range map[Zone][2]bool{Outside: {false, true}, Dead: {false, true}, Guard: {true, true}, Live: {true, true}, Saved: {true, false}, Top: {true, false}} {
		if z.Alarms() != want[0] || z.Allowable() != want[1] {
			t.Errorf("%v: alarms %v, allowable %v", z, z.Alarms(), z.Allowable())
		}
	}
}
