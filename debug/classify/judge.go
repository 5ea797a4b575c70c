package classify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"

	"ringo/debug/hit"
)

// Rule names a verdict.
type Rule string

// Rules; the package comment explains them.
const (
	R0  Rule = "R0"
	R0b Rule = "R0b"
	RD  Rule = "RD"
	R1  Rule = "R1"
	R2  Rule = "R2"
	R3  Rule = "R3"
	R4  Rule = "R4"
	R5  Rule = "R5"
	R6  Rule = "R6"
	R7  Rule = "R7"
	R8  Rule = "R8"
	R9  Rule = "R9"
	R10 Rule = "R10"
)

var titles = map[Rule]string{
	R0:  "the frame was bad when it was saved",
	R0b: "changed without a write being seen: the tracing engine missed it",
	RD:  "changed while asleep, by whom was not watched",
	R1:  "stack overflow of the writer",
	R2:  "string store ran backwards",
	R3:  "stale TLB entry",
	R4:  "page used as a page table",
	R5:  "event delivered on a sleeping task's stack",
	R6:  "stack in use twice",
	R7:  "memory given out again while in use",
	R8:  "wide store beyond its object",
	R9:  "device write",
	R10: "wild write",
}

// Title is the verdict in a few words.
func (r Rule) Title() string { return titles[r] }

// Rules lists all rules, for tests and documentation.
func Rules() []Rule { return []Rule{R0, R0b, RD, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10} }

// Verdict is what an Evidence means.
type Verdict struct {
	Rule Rule
	// Title is Rule.Title.
	Title string
	// Because is the evidence, one sentence each, the deciding one first.
	Because []string
	// Next is what to try to learn more, "" for nothing.
	Next string
}

// Judge finds the rule that fits. It always answers one.
func Judge(e *Evidence) Verdict {
	var v Verdict
	if e.Write == nil {
		v = e.unseen()
	} else {
		for _, try := range []func(*Evidence, *hit.Write) (Rule, []string){device, pageWalk, eventDelivery, backward, staleTLB, stackPointer, reallocated, wide, wild} {
			if r, why := try(e, e.Write); r != "" {
				v = Verdict{Rule: r, Because: why}
				break
			}
		}
		v.Next = provenance(e)
	}
	v.Title = v.Rule.Title()
	return v
}

func (e *Evidence) unseen() Verdict {
	switch {
	case e.BadFrame != "" && !e.Changed:
		because := []string{"no write since the switch: the stack is as it was saved, and " + e.BadFrame}
		if e.SavedBy != "" {
			because = append(because, "it was saved by "+e.SavedBy)
		}
		return Verdict{Rule: R0, Because: because, Next: "look at the code that saves the frame, not for a writer"}
	case e.Changed && e.Armed:
		return Verdict{Rule: R0b, Because: []string{"the stack's pages were protected all the time its owner slept, no write was reported, and the content differs"},
			Next: "this is an error of the debugger: please report it with the files of --report"}
	}
	return Verdict{Rule: RD, Because: []string{"the stack's bytes differ from those at switch-out; nothing watched this sleep in between"},
		Next: "run it again with --guard stacks=attribute to see who writes; a task that sleeps briefly again and again is watched then only now and then"}
}

func device(e *Evidence, w *hit.Write) (Rule, []string) {
	if w.Kind != hit.Device && w.Kind != hit.Host {
		return "", nil
	}
	source := w.Source
	switch {
	case w.Kind == hit.Host:
		source = "KVM itself"
	case source == "":
		source = "the monitor"
	}
	return R9, []string{fmt.Sprintf("the bytes were written by %s, not by a CPU of the guest", source)}
}

func pageWalk(e *Evidence, w *hit.Write) (Rule, []string) {
	if w.Kind != hit.PageWalk {
		return "", nil
	}
	return R4, []string{fmt.Sprintf("CPU %d wrote it while it walked page tables: entry %d of the page is in use as a page-table entry", w.VCPU, w.GPA&0xfff/8)}
}

func eventDelivery(e *Evidence, w *hit.Write) (Rule, []string) {
	// INT n is an instruction whose stores are those of a delivery.
	if m := orStore(w); w.Kind != hit.Delivery && !(m == "int" || m == "int3" || m == "int1") {
		return "", nil
	}
	return R5, []string{fmt.Sprintf("CPU %d pushed an exception frame there: its stack pointer for events (TSS, SP_EL1) points into the stack of %s", w.VCPU, e.Victim)}
}

func backward(e *Evidence, w *hit.Write) (Rule, []string) {
	if w.Kind != hit.RepString || !w.Registers.Backward || w.Registers.User {
		return "", nil
	}
	return R2, []string{
		fmt.Sprintf("the direction flag is set in the kernel, so %s wrote downwards, %d bytes from %#x on", orStore(w), max(w.WholeLen, w.Len), w.WholeGVA),
		"user mode's flag came in: the way into the kernel that was taken does not clear it",
	}
}

func staleTLB(e *Evidence, w *hit.Write) (Rule, []string) {
	where := func() string {
		switch {
		case !e.Walk.Known || w.GVA == 0:
			return ""
		case !e.Walk.Mapped:
			return fmt.Sprintf("the page tables do not map %#x, and yet the store went to GPA %#x", w.GVA, w.GPA)
		case e.Walk.GPA != w.GPA:
			return fmt.Sprintf("the page tables lead from %#x to GPA %#x, and the store went to GPA %#x", w.GVA, e.Walk.GPA, w.GPA)
		}
		return ""
	}()
	switch {
	case w.Registers.User && where != "":
		return R3, []string{where, "user mode made it, through a translation that was changed and not flushed"}
	case w.Registers.User:
		return R3, []string{"user mode made the write: the stack's page is mapped into " + e.Writer.String()}
	case where != "":
		return R3, []string{where, fmt.Sprintf("CPU %d used a translation that was changed and not flushed", w.VCPU)}
	}
	return "", nil
}

// maxOverflow is how far below its stack a writer may be for the distance to mean an overflow, in
// bytes: the largest temporary that anybody would build.
const maxOverflow = 1 << 20

// stackPointer is R6 and R1: what the writer's stack pointer says.
func stackPointer(e *Evidence, w *hit.Write) (Rule, []string) {
	if w.Registers.User || w.Registers.SP == 0 || !w.Kind.ByInstruction() {
		return "", nil
	}
	inVictim := e.VictimStack.Contains(w.Registers.SP)
	same := e.Writer.ID != 0 && e.Writer.ID == e.Victim.ID
	if inVictim && (same || e.VictimRuns) {
		return R6, []string{
			fmt.Sprintf("sp %#x is in the stack of %s, which is running on CPU %d while the registry has it asleep", w.Registers.SP, e.Victim, w.VCPU),
			"one task on two CPUs, or a switch that did not happen as recorded",
		}
	}
	sp, what := w.Registers.SP, "sp"
	if at := newFrame(w); at != 0 {
		sp, what = at, "the new frame at"
	}
	for _, s := range e.Own {
		if s.Contains(sp) {
			return "", nil
		}
	}
	// The own stack it fell from is the nearest above.
	var own *Span
	for i := range e.Own {
		if s := &e.Own[i]; s.Lo > sp && s.Lo-sp <= maxOverflow && (own == nil || s.Lo < own.Lo) {
			own = s
		}
	}
	if own != nil {
		why := []string{fmt.Sprintf("%s %#x is %d bytes below the stack of %s, %s", what, sp, own.Lo-sp, e.Writer, own)}
		if e.FrameSize > 0 {
			size := fmt.Sprintf("%s needs a frame of %d bytes", e.FrameOf, e.FrameSize)
			if e.FrameSize > own.Size() {
				size += fmt.Sprintf(", the stack has %d", own.Size())
			}
			why = append(why, size)
		}
		if inVictim {
			why = append(why, "sp is in the sleeping stack itself")
		}
		return R1, why
	}
	if inVictim {
		return R6, []string{
			fmt.Sprintf("sp %#x is in the stack of %s, and %s did not get there by overflowing its own", w.Registers.SP, e.Victim, e.Writer),
			"the stack was freed and given out again, or switched to, while its owner slept",
		}
	}
	return "", nil
}

// newFrame is where the stack pointer is about to be, when the write pushes something or saves a frame below the stack pointer as arm64
// code does before it moves that; else 0.
func newFrame(w *hit.Write) uint64 {
	at, n := w.WholeGVA, w.WholeLen
	if at == 0 {
		at, n = w.GVA, w.Len
	}
	sp := w.Registers.SP
	if at == 0 || at >= sp || sp-at > maxOverflow || uint64(n) > sp-at {
		return 0
	}
	if w.Kind == hit.Push {
		return at
	}
	var fp [8]byte
	binary.LittleEndian.PutUint64(fp[:], w.Registers.FP)
	if w.Kind == hit.Store && w.Registers.FP != 0 && bytes.Contains(w.New, fp[:]) {
		return at
	}
	return 0
}

// allocator matches functions that hand out memory or clear it for that.
var allocator = regexp.MustCompile(`(?i)(^|[./)*(])(\w*alloc\w*|zero(frame|page)s?|clear(frame|page)s?|\w*prezero\w*|zeroed\w*)(\.|$|\[|-)`)

// allocatorDepth is how many frames from the store an allocator may be: it calls a clearing loop.
const allocatorDepth = 3

func reallocated(e *Evidence, w *hit.Write) (Rule, []string) {
	var why []string
	for i, f := range e.Callers {
		if i == allocatorDepth {
			break
		}
		// The user's allocations on the heap are no allocator of frames: the innermost counts.
		if allocator.MatchString(f) {
			why = append(why, f+" hands out memory that "+e.Victim.String()+" still uses")
			break
		}
	}
	if e.Frame.Owner != "" && !e.Frame.Stack {
		why = append(why, fmt.Sprintf("the frame at GPA %#x is on record as %s, not as a stack", w.GPA&^0xfff, e.Frame.Owner))
	}
	if len(why) == 0 {
		return "", nil
	}
	for _, a := range e.Frame.History {
		line := fmt.Sprintf("%s by %s", a.What, a.By)
		if a.Task != (Task{}) {
			line += " in " + a.Task.String()
		}
		why = append(why, fmt.Sprintf("%s %.3f ms before", line, float64(a.Ago)/1e6))
	}
	return R7, why
}

// wideStores write more than a general register at once.
func wideStore(w *hit.Write) bool {
	switch w.Kind {
	case hit.Vector, hit.XSave, hit.ZeroBlock, hit.System:
		return true
	case hit.Store:
		return w.WholeLen >= 16 // a pair
	}
	return false
}

func wide(e *Evidence, w *hit.Write) (Rule, []string) {
	if !wideStore(w) || w.WholeLen < 16 {
		return "", nil
	}
	first := e.First
	if first == 0 {
		first = e.AsVictim
	}
	start := e.AsVictim - (w.GVA - w.WholeGVA) // of the whole store, as the victim addresses it
	before := int(first - start)               // bytes of it below what matters
	if w.GVA < w.WholeGVA || first < start || before == 0 || before >= w.WholeLen || e.VictimStack.Zone(first-1).Alarms() {
		return "", nil
	}
	return R8, []string{fmt.Sprintf("one %s stores %d bytes at %#x: the first %d belong there, the last %d are beyond", orStore(w), w.WholeLen, w.WholeGVA, before, w.WholeLen-before)}
}

func wild(e *Evidence, w *hit.Write) (Rule, []string) {
	why := []string{fmt.Sprintf("%s runs on its own stack, in %s, and has no business at %#x", e.Writer, caller(e), e.AsVictim)}
	if w.GVA != 0 && e.AsVictim != 0 && w.GVA != e.AsVictim {
		why = append(why, fmt.Sprintf("it used another alias of the memory, %#x", w.GVA))
	}
	return R10, why
}

func caller(e *Evidence) string {
	if len(e.Callers) == 0 || e.Callers[0] == "" {
		return "code without a symbol"
	}
	return e.Callers[0]
}

// orStore is the mnemonic.
func orStore(w *hit.Write) string {
	words := strings.Fields(w.Instruction)
	switch {
	case len(words) == 0:
		return w.Kind.String()
	case len(words) > 1 && strings.HasPrefix(words[0], "rep"):
		return words[0] + " " + words[1]
	}
	return words[0]
}

// provenance: when the bytes are also stored where the instruction's operands lead, that is where they came
// from, and the place to watch next.
func provenance(e *Evidence) string {
	w := e.Write
	if len(bytes.Trim(w.New, "\x00")) == 0 {
		return "" // zeroes are everywhere
	}
	for _, c := range e.Reachable {
		n := min(len(c.Value), len(w.New), 8)
		if n < 4 || c.Addr == w.GVA || !bytes.Equal(c.Value[:n], w.New[:n]) {
			continue
		}
		return fmt.Sprintf("the bytes are also at %s = %#x: --watch %#x,len=%d shows who put them there", strings.ToLower(c.Via), c.Addr, c.Addr, n)
	}
	return ""
}
