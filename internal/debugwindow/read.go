package debugwindow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe" // for sizes
)

// Memory is guest-physical memory as the debugger reads it: Peek copies what is RAM at the start of the range and
// answers how much that was. vmm/machine.Memory has it.
type Memory interface {
	Peek(gpa uint64, p []byte) int
}

// Virtual reads guest-virtual memory: it copies what is mapped at the start of the range and answers how much that was.
type Virtual func(gva uint64, p []byte) int

// Errors of Open.
var (
	// ErrAbsent: the machine has no debug window, or the kernel has not formatted it yet.
	ErrAbsent = errors.New("no debug window")
	// ErrCorrupt: what the header says cannot be.
	ErrCorrupt = errors.New("debug window is corrupt")
)

// Window is the monitor's view. Its methods read guest memory anew each time and may be called at any time, by one
// goroutine at a time; entries are consistent copies.
type Window struct {
	mem  Memory
	base uint64
	// Header is the copy that Open has checked; Guard and the counters in it are as of then.
	Header Header
}

// Open checks the window at a GPA.
func Open(mem Memory, base, size uint64) (*Window, error) {
	if size == 0 {
		return nil, ErrAbsent
	}
	var raw [HeaderSize]byte
	if n := mem.Peek(base, raw[:]); n < len(raw) {
		return nil, fmt.Errorf("%w: GPA %#x, %d of %d bytes are RAM", ErrCorrupt, base, n, len(raw))
	}
	h := overlay[Header](raw[:unsafe.Sizeof(Header{})])
	switch {
	case h.Magic == 0:
		return nil, fmt.Errorf("%w: the kernel has not written it yet", ErrAbsent)
	case h.Magic != Magic || h.Version != Version:
		return nil, fmt.Errorf("%w: magic %#x, version %d; want %#x, %d", ErrCorrupt, h.Magic, h.Version, uint64(Magic), Version)
	case h.Size > size || h.CPUs == 0 || h.CPUs > MaxCPUs || h.Tasks > MaxTasks || h.CPUOffset < HeaderSize || h.TaskOffset < HeaderSize ||
		uint64(h.CPUOffset)+uint64(h.CPUs)*CPUSize > h.Size || uint64(h.TaskOffset)+uint64(h.Tasks)*TaskSize > h.Size:
		return nil, fmt.Errorf("%w: %d CPUs at %#x, %d tasks at %#x, in %#x bytes of %#x", ErrCorrupt, h.CPUs, h.CPUOffset, h.Tasks, h.TaskOffset, h.Size, size)
	case h.Frames.NumRegions > uint32(len(h.Frames.Regions)) || h.Frames.RecordSize > 4096 || h.Frames.HistorySize > 4096 || h.Frames.NumOwners > uint32(len(h.Frames.Owners)):
		return nil, fmt.Errorf("%w: %d regions of frames, records of %d bytes", ErrCorrupt, h.Frames.NumRegions, h.Frames.RecordSize)
	}
	return &Window{mem: mem, base: base, Header: h}, nil
}

// GuardAddress is the GPA of the 32-bit word to which the monitor writes Guard bits.
func (w *Window) GuardAddress() uint64 { return w.base + uint64(unsafe.Offsetof(Header{}.Guard)) }

// Compared is Header.Compared of the moment.
func (w *Window) Compared() uint64 {
	var b [8]byte
	if w.mem.Peek(w.base+uint64(unsafe.Offsetof(Header{}.Compared)), b[:]) != len(b) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}

// CreditAddress is the GPA of the 32-bit word Header.Credit.
func (w *Window) CreditAddress() uint64 { return w.base + uint64(unsafe.Offsetof(Header{}.Credit)) }

// CoverAddress is the GPA of the 64-bit word Task.Cover of a slot.
func (w *Window) CoverAddress(slot int) uint64 {
	return w.base + uint64(w.Header.TaskOffset) + uint64(slot)*TaskSize + uint64(unsafe.Offsetof(Task{}.Cover))
}

// Cover is Task.Cover of a slot: the sleep it speaks of, as Task.Parks, and CoverNone, CoverOpen or CoverClosed.
func (w *Window) Cover(slot int) (sleep, cover uint64) {
	var b [8]byte
	if slot < 0 || slot >= int(w.Header.Tasks) || w.mem.Peek(w.CoverAddress(slot), b[:]) != len(b) {
		return 0, CoverNone
	}
	v := binary.LittleEndian.Uint64(b[:])
	return v >> CoverShift, v & (1<<CoverShift - 1)
}

// High is how many slots have been used: [0, High).
func (w *Window) High() int {
	var b [4]byte
	if w.mem.Peek(w.base+uint64(unsafe.Offsetof(Header{}.High)), b[:]) != len(b) {
		return 0
	}
	return int(min(binary.LittleEndian.Uint32(b[:]), w.Header.Tasks))
}

// Entry is a task's entry as it was read.
type Entry struct {
	Task
	Slot int
	// Name is Comm, made printable.
	Name string
	// Torn: the entry was being written when the guest stopped, or kept changing.
	Torn bool
	// Damage says what cannot be right in the entry, "" for nothing.
	Damage string
}

// Syscall is the number of the call in progress.
func (e *Entry) Syscall() (nr uint64, ok bool) { return e.Call - 1, e.Call != 0 }

// Kernel stacks of the entry that exist, without those that are damaged.
func (e *Entry) Valid() []Stack {
	var out []Stack
	for _, s := range e.Stacks {
		if s.Kind != StackNone && s.damage() == "" {
			out = append(out, s)
		}
	}
	return out
}

// Contains says whether the stack holds an address.
func (s Stack) Contains(gva uint64) bool { return gva >= s.Lo && gva < s.Hi }

// maxStack is beyond any kernel stack.
const maxStack = 1 << 30

func (s Stack) damage() string {
	switch {
	case s.Kind > StackThread:
		return fmt.Sprintf("stack of kind %d", uint32(s.Kind))
	case s.Kind == StackNone:
		return ""
	case s.Lo >= s.Hi || s.Hi-s.Lo > maxStack:
		return fmt.Sprintf("stack [%#x, %#x)", s.Lo, s.Hi)
	case s.SP != 0 && (s.SP < s.Lo || s.SP > s.Hi):
		return fmt.Sprintf("stack pointer %#x outside [%#x, %#x)", s.SP, s.Lo, s.Hi)
	case s.Keep != 0 && (s.Keep < s.Lo || s.Keep > s.Hi):
		return fmt.Sprintf("Keep %#x outside [%#x, %#x)", s.Keep, s.Lo, s.Hi)
	}
	return ""
}

// attempts to read an entry that changes under the reader.
const attempts = 64

// Task reads the entry of a slot.
func (w *Window) Task(slot int) (Entry, error) {
	if slot < 0 || slot >= int(w.Header.Tasks) {
		return Entry{}, fmt.Errorf("slot %d of %d", slot, w.Header.Tasks)
	}
	at := w.base + uint64(w.Header.TaskOffset) + uint64(slot)*TaskSize
	var raw [TaskSize]byte
	var after [4]byte
	torn := true
	for range attempts {
		if w.mem.Peek(at, raw[:]) < len(raw) || w.mem.Peek(at, after[:]) < len(after) {
			return Entry{}, fmt.Errorf("slot %d at GPA %#x: not RAM", slot, at)
		}
		seq := binary.LittleEndian.Uint32(raw[:])
		if seq&1 == 0 && seq == binary.LittleEndian.Uint32(after[:]) {
			torn = false
			break
		}
	}
	e := Entry{Task: overlay[Task](raw[:unsafe.Sizeof(Task{})]), Slot: slot, Torn: torn}
	e.Name = Printable(e.Comm[:])
	e.check()
	return e, nil
}

func (e *Entry) check() {
	switch {
	case e.State > TaskDead:
		e.Damage = fmt.Sprintf("state %d", uint32(e.State))
	case e.Wait > WaitKill:
		e.Damage = fmt.Sprintf("wait %d", uint32(e.Wait))
	case e.Call > 1<<32:
		e.Damage = fmt.Sprintf("system call %#x", e.Call-1)
	}
	for i := range e.Stacks {
		if d := e.Stacks[i].damage(); e.Damage == "" {
			e.Damage = d
		}
	}
}

// Printable is a NUL-padded name with everything that is not a printable character made '?'.
func Printable(b []byte) string {
	var s strings.Builder
	for len(b) > 0 && b[0] != 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

// Tasks reads the entries of all tasks that exist, dead ones whose slot has not been used again included.
func (w *Window) Tasks() []Entry {
	var out []Entry
	for slot := range w.High() {
		if e, err := w.Task(slot); err == nil && (e.State != TaskFree || e.Torn) {
			out = append(out, e)
		}
	}
	return out
}

// CPU reads the entry of a CPU.
func (w *Window) CPU(i int) (CPU, error) {
	if i < 0 || i >= int(w.Header.CPUs) {
		return CPU{}, fmt.Errorf("CPU %d of %d", i, w.Header.CPUs)
	}
	var raw [CPUSize]byte
	if w.mem.Peek(w.base+uint64(w.Header.CPUOffset)+uint64(i)*CPUSize, raw[:]) < len(raw) {
		return CPU{}, fmt.Errorf("CPU %d: not RAM", i)
	}
	return overlay[CPU](raw[:unsafe.Sizeof(CPU{})]), nil
}

// VCPU is what CurrentTask has to know of a vCPU that is not running.
type VCPU struct {
	Index int
	User  bool   // in user mode
	SP    uint64 // stack pointer
	G     uint64 // Go's g register: R14 on amd64, X28 on arm64
}

// CurrentTask is the task in whose context a vCPU is: in user mode, in the kernel, on a fixed stack, or in a handler that
// interrupted it. ok is false when it is nobody's: idle, the runtime's own work, a kernel goroutine.
func (w *Window) CurrentTask(c VCPU, read Virtual) (Entry, bool) {
	cpu, err := w.CPU(c.Index)
	if err != nil {
		return Entry{}, false
	}
	if c.User {
		context := load(read, cpu.UserAt)
		return w.find(func(e *Entry) bool { return context != 0 && e.Context == context })
	}
	g := c.G
	for _, s := range cpu.Stacks {
		if s.Kind != StackNone && s.Contains(c.SP) {
			// A handler: the thread that it interrupted says whose work this is.
			thread := load(read, cpu.ThreadAt)
			if thread == 0 {
				return Entry{}, false
			}
			g = load(read, thread+uint64(w.Header.Threads.G))
		}
	}
	if g == 0 {
		return Entry{}, false
	}
	byG := func(g uint64) (Entry, bool) {
		return w.find(func(e *Entry) bool { return g != 0 && (e.G == g || e.AltG == g) })
	}
	if e, ok := byG(g); ok {
		return e, true
	}
	// On g0 or the signal stack: the goroutine that the M runs.
	m := load(read, g+uint64(w.Header.Runtime.GM))
	if m == 0 {
		return Entry{}, false
	}
	return byG(load(read, m+uint64(w.Header.Runtime.MCurg)))
}

func (w *Window) find(is func(*Entry) bool) (Entry, bool) {
	for _, e := range w.Tasks() {
		if e.State != TaskFree && e.State != TaskDead && is(&e) {
			return e, true
		}
	}
	return Entry{}, false
}

func load(read Virtual, gva uint64) uint64 {
	var b [8]byte
	if gva == 0 || read == nil || read(gva, b[:]) < len(b) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}

// Physical translates addresses of the direct map and the kernel image, which need no page tables.
func (w *Window) Physical(gva uint64) (gpa uint64, ok bool) {
	h := &w.Header
	if d := gva - h.KernelVirt; gva >= h.KernelVirt && d < h.KernelSize {
		return h.KernelPhys + d, true
	}
	if d := gva - h.DirectMap; gva >= h.DirectMap && d < 1<<39 {
		return d, true
	}
	return 0, false
}

// Frame is what the kernel's allocator knows of one frame.
type Frame struct {
	GPA        uint64 // of the frame
	Owner      string
	OwnerIndex uint8
	Refs       uint32
	Order      uint8 // of the block, valid for its first frame
	First      bool  // first frame of a block
	// History is zero unless the kernel keeps one (debug=frames).
	History FrameHistory
}

// Frame answers for the frame that holds gpa. ok is false for what is not RAM of the allocator.
func (w *Window) Frame(gpa uint64) (f Frame, ok bool) {
	t := &w.Header.Frames
	for _, r := range t.Regions[:t.NumRegions] {
		i := (gpa - r.Base) >> 12
		if gpa < r.Base || i >= r.Frames || r.Records == 0 {
			continue
		}
		raw := make([]byte, t.RecordSize)
		if w.mem.Peek(r.Records+i*uint64(t.RecordSize), raw) < len(raw) {
			return Frame{}, false
		}
		byteAt := func(off uint32) uint8 {
			if int(off) < len(raw) {
				return raw[off]
			}
			return 0
		}
		f = Frame{GPA: gpa &^ 4095, OwnerIndex: byteAt(t.Owner), Order: byteAt(t.Order), First: byteAt(t.Head) != 0}
		if int(t.Refs)+4 <= len(raw) {
			f.Refs = binary.LittleEndian.Uint32(raw[t.Refs:])
		}
		f.Owner = "unknown"
		if uint32(f.OwnerIndex) < t.NumOwners {
			f.Owner = Printable(t.Owners[f.OwnerIndex][:])
		}
		const size = unsafe.Sizeof(FrameHistory{})
		if r.History != 0 && t.HistorySize >= uint32(size) {
			var h [size]byte
			if w.mem.Peek(r.History+i*uint64(t.HistorySize), h[:]) == len(h) {
				f.History = overlay[FrameHistory](h[:])
			}
		}
		return f, true
	}
	return Frame{}, false
}

// At is a counter value as a time since the kernel's first instruction, ns; 0 when the kernel does not say when that was.
func (w *Window) At(counter uint64) int64 {
	h := &w.Header
	if h.CounterHz == 0 || h.Started == 0 || counter < h.Started {
		return 0
	}
	n := counter - h.Started
	return int64(n/h.CounterHz)*1e9 + int64(float64(n%h.CounterHz)*1e9/float64(h.CounterHz))
}
