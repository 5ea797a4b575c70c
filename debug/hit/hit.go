// Package hit is the record of one access to watched guest memory: what every engine
// (debug/pagetrace, debug/watch, the monitor's own accessor) produces and every consumer (classifier,
// stack guard, reports, control socket, GDB stub) reads. It knows no engine and no architecture.
package hit

import (
	"bytes"
	"fmt"
)

// Kind says what made the access.
type Kind uint8

// Kinds. Reads by an instruction are Load; everything from Device on is not an instruction's.
const (
	Store     Kind = iota // an ordinary store, of one register, a pair or an immediate
	Load                  // an ordinary read
	RepString             // amd64 stos, movs, ins, with or without REP: one record for the whole run
	Push                  // push, call, enter, and pushes of iret's kind
	Atomic                // lock-prefixed or xchg; arm64 exclusives and LSE
	Vector                // SSE, AVX, AVX-512, NEON, SVE
	XSave                 // fxsave, xsave and its family, fnsave
	ZeroBlock             // arm64 dc zva and its kind
	System                // sgdt, str, enclv...: other instructions with a memory result

	Delivery     // the CPU pushed an exception or interrupt frame
	PageWalk     // the CPU set accessed or dirty bits in a page table
	Device       // a device model of the monitor, see Write.Source
	Host         // KVM itself (steal time, paravirtual clock)
	Unattributed // memory changed and nobody is known to have done it: an engine missed one
)

var kindNames = [...]string{
	Store: "store", Load: "load", RepString: "rep string", Push: "push", Atomic: "atomic", Vector: "vector", XSave: "xsave",
	ZeroBlock: "dc zva", System: "system", Delivery: "event delivery", PageWalk: "page walk", Device: "device", Host: "host",
	Unattributed: "unattributed",
}

// String is the kind as reports and JSON have it.
func (k Kind) String() string { return name(kindNames[:], int(k)) }

// ByInstruction says that the registers, the mode and Instruction of the record are the writer's.
func (k Kind) ByInstruction() bool { return k <= System }

// Access is what was done to the bytes.
type Access uint8

// Accesses.
const (
	Written Access = iota
	Read
)

// String is "write" or "read".
func (a Access) String() string {
	if a == Read {
		return "read"
	}
	return "write"
}

// Engine says what noticed.
type Engine uint8

// Engines.
const (
	DebugRegister Engine = iota // a hardware watchpoint of the vCPU
	PageEngine                  // page protection and a single step
	ReadOnlySlot                // a read-only memory slot
	Accessor                    // the monitor's own access to guest memory
)

var engineNames = [...]string{DebugRegister: "debug register", PageEngine: "page protection", ReadOnlySlot: "read-only slot", Accessor: "accessor"}

// String is the engine as reports and JSON have it.
func (e Engine) String() string { return name(engineNames[:], int(e)) }

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%d", i)
}

// Registers are those that a verdict needs, of the vCPU at the instruction: before it where the engine
// stops there (page protection, arm64 watchpoints), behind it for amd64 watchpoints, whose
// Write.PC is nevertheless the instruction's own.
type Registers struct {
	PC    uint64 // GVA
	SP    uint64 // GVA, of the stack in use
	FP    uint64 // frame pointer: RBP, X29
	Link  uint64 // arm64 X30; 0 on amd64
	Flags uint64 // RFLAGS, PSTATE
	// Root is the GPA of the page tables that translate PC: CR3, TTBR0 or TTBR1 without its low bits.
	Root      uint64
	Goroutine uint64 // the register in which Go code keeps g: R14, X28
	Level     int    // amd64: CPL, 0 is the kernel; arm64: exception level, 1 is the kernel
	User      bool   // user mode: CPL 3, EL0
	Backward  bool   // amd64 RFLAGS.DF: string instructions go down
	Masked    bool   // interrupts are off
}

// Start is where an unwinder begins; it implements debug/symbols.Registers.
type Start struct{ r *Registers }

// Start lets symbols.Table.Unwind walk from these registers.
func (r *Registers) Start() Start { return Start{r} }

// PC is the program counter.
func (s Start) PC() uint64 { return s.r.PC }

// SP is the stack pointer.
func (s Start) SP() uint64 { return s.r.SP }

// FP is the frame pointer.
func (s Start) FP() uint64 { return s.r.FP }

// Link is the return address of a function that has not stored it.
func (s Start) Link() uint64 { return s.r.Link }

// Guest is the guest as the vCPU of a Write sees it at that moment: the memory that a backtrace reads. Only
// during Sink.Hit: afterwards the guest runs on.
type Guest interface {
	// ReadVirtual reads up to n bytes at a GVA through the page tables in force, up to the first
	// that does not translate to RAM.
	ReadVirtual(gva uint64, n int) []byte
	// ReadPhysical reads RAM at a GPA and returns how many bytes that was.
	ReadPhysical(gpa uint64, p []byte) int
	// Translate is the GPA of a GVA.
	Translate(gva uint64) (gpa uint64, ok bool)
}

// Write is one access to watched memory. An instruction that touches several watched ranges gives one
// record for each, with the same PC and Time.
type Write struct {
	Seq  uint64 // 1, 2, 3... over all engines of a guest
	Time int64  // ns since the vCPUs started
	VCPU int    // -1 for a device

	GPA uint64 // of the first byte
	GVA uint64 // through which the instruction went; 0 when not known or none
	Len int    // bytes, within the watched range
	// Old and New are the bytes before and after, Len each. For a Read they are the same.
	Old, New []byte
	Access   Access
	// Whole is what the instruction accesses altogether, of which GPA and Len are the watched
	// part; 0 when not known. A rep string's whole run counts.
	WholeGVA uint64
	WholeLen int

	Kind Kind
	PC   uint64 // GVA of the instruction, 0 for a device
	Code []byte // its bytes
	// Instruction is it decoded, in the architecture's usual syntax; "" for a device.
	Instruction string
	Registers   Registers
	// Source labels a device's access: "virtio-block, queue 0, head 12".
	Source string
	Engine Engine
	// Silent: the bytes are the same as before (a zero over a zero).
	Silent bool
	// Race: other vCPUs or devices could write to the same page meanwhile, so that Old and New may be
	// theirs in part.
	Race bool
	// Watch is the number of the watch that matched, 0 for none.
	Watch int
	// Guest is valid during Sink.Hit only, and nil for a device.
	Guest Guest
}

// Settle computes Silent from Old and New.
func (w *Write) Settle() { w.Silent = w.Access == Read || bytes.Equal(w.Old, w.New) }

// String is one line without symbols, for logs.
func (w *Write) String() string {
	who := fmt.Sprintf("vCPU %d at %#x: %s", w.VCPU, w.PC, w.Instruction)
	if !w.Kind.ByInstruction() {
		who = w.Kind.String()
		if w.Source != "" {
			who += " (" + w.Source + ")"
		}
	}
	const show = 16
	s := fmt.Sprintf("#%d %s of %d bytes at GPA %#x by %s", w.Seq, w.Access, w.Len, w.GPA, who)
	if w.Access == Written {
		s += fmt.Sprintf(" [% x] -> [% x]", w.Old[:min(len(w.Old), show)], w.New[:min(len(w.New), show)])
	}
	return s
}

// Action is what a Sink wants done about the guest.
type Action uint8

// Actions; the strongest of several sinks counts.
const (
	Continue Action = iota
	// End ends the guest once the access is complete.
	End
)

// Sink takes records. Hit is called on the thread of the vCPU that made the access, or on the goroutine
// of a device; with page protection the access is complete, and all other vCPUs stand still unless the sink takes
// concurrent calls (pagetrace.Options), of which there is one at a time. It must not
// wait for the guest and must not pause it; a machine.Hold makes the guest stand still behind the access. It may keep w but not
// w.Guest.
type Sink interface{ Hit(w *Write) Action }

// Func makes a function a Sink.
type Func func(w *Write) Action

// Hit calls f.
func (f Func) Hit(w *Write) Action { return f(w) }

// Counters are what a run without hits still has to say: silence must be worth something.
type Counters struct {
	Hits       uint64 // records given to sinks
	Elsewhere  uint64 // accesses to protected pages outside every watched range: stepped over, not reported
	Suppressed uint64 // records that a filter or an allow rule took
	Lost       uint64 // accesses that are known to have gone unrecorded; 0 expected
	Steps      uint64 // instructions stepped over
	Emulated   uint64 // instructions that the monitor has carried out in the guest's place
	Exits      uint64 // exits of KVM_RUN that the engines caused
}

// Add adds c to the receiver.
func (c *Counters) Add(o Counters) {
	c.Hits += o.Hits
	c.Elsewhere += o.Elsewhere
	c.Suppressed += o.Suppressed
	c.Lost += o.Lost
	c.Steps += o.Steps
	c.Emulated += o.Emulated
	c.Exits += o.Exits
}

// String is the line at the end of a run.
func (c Counters) String() string {
	return fmt.Sprintf("%d hits, %d suppressed, %d elsewhere on watched pages, %d lost", c.Hits, c.Suppressed, c.Elsewhere, c.Lost)
}
