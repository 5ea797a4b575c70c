package machine

import (
	"encoding/binary"
	"fmt"
	"time"

	"ringo/internal/kvm"
	"ringo/internal/pagetable"
)

// ExitRecord is one exit in a vCPU's history.
type ExitRecord struct {
	At     time.Duration // since the vCPUs started
	Reason kvm.Reason
	Addr   uint64 // GPA or port
	Size   int    // bytes of one element
	Count  int
	Write  bool
	Value  uint64 // what was written
	Code   uint64
	// Repeats is how many further exits of the same kind followed at once; At, Value and Code
	// are the first one's.
	Repeats uint64
}

// String is one line.
func (r ExitRecord) String() string {
	switch r.Reason {
	case kvm.ReasonIO, kvm.ReasonMMIO:
		space := "GPA"
		if r.Reason == kvm.ReasonIO {
			space = "port"
		}
		s := fmt.Sprintf("%12.6f ms  %s %s %s %#x, %d bytes", float64(r.At)/1e6, r.Reason, verb(r.Write), space, r.Addr, r.Size)
		if r.Count > 1 {
			s += fmt.Sprintf(" x %d", r.Count)
		}
		if r.Write {
			s += fmt.Sprintf(", value %#x", r.Value)
		}
		return s + r.repeats()
	}
	return fmt.Sprintf("%12.6f ms  %s code %#x", float64(r.At)/1e6, r.Reason, r.Code) + r.repeats()
}

func (r ExitRecord) repeats() string {
	if r.Repeats == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", r.Repeats)
}

// historySize is how many exits a vCPU remembers.
const historySize = 64

// history is a vCPU's last exits. Written by its thread; read after that has ended. A run of
// accesses to one register takes one place, so that an early console does not push out the
// rest.
type history struct {
	ring  [historySize]ExitRecord
	n     uint64 // places used
	total uint64 // exits
	kinds map[exitKind]uint64
}

// exitKind is what exits are counted by.
type exitKind struct {
	reason kvm.Reason
	addr   uint64 // of a register, see exitKinds
	write  bool
}

// exitKinds is how many kinds a vCPU counts apart; a guest that touches more addresses has the
// rest counted by reason only.
const exitKinds = 256

func (h *history) count(k exitKind) {
	if h.kinds == nil {
		h.kinds = make(map[exitKind]uint64, 32)
	}
	if _, ok := h.kinds[k]; !ok && len(h.kinds) >= exitKinds {
		k = exitKind{reason: k.reason, addr: ^uint64(0)}
	}
	h.kinds[k]++
}

func (h *history) add(start time.Time, x *kvm.Exit) {
	addr := x.Addr
	if x.Reason == kvm.ReasonIO {
		addr = uint64(x.Port)
	}
	h.total++
	h.count(exitKind{x.Reason, addr, x.Write})
	if last := &h.ring[(h.n-1)%historySize]; h.n > 0 && last.Reason == x.Reason && last.Addr == addr && last.Write == x.Write && last.Size == x.Size {
		last.Repeats++
		return
	}
	r := &h.ring[h.n%historySize]
	h.n++
	*r = ExitRecord{At: time.Since(start), Reason: x.Reason, Addr: addr, Size: x.Size, Count: x.Count, Write: x.Write, Code: x.Code}
	if x.Write {
		var b [8]byte
		copy(b[:], x.Data)
		r.Value = binary.LittleEndian.Uint64(b[:])
	}
}

func (h *history) records() []ExitRecord {
	n := min(h.n, historySize)
	out := make([]ExitRecord, 0, n)
	for i := h.n - n; i < h.n; i++ {
		out = append(out, h.ring[i%historySize])
	}
	return out
}

// CPUState is one vCPU at the time of a report.
type CPUState struct {
	ID        int
	Registers *Registers // nil: KVM would not tell; Err says why
	Err       error
	// Code is what lies at PC, at most 64 bytes; nil when PC does not translate.
	Code []byte
	// Exits are the last exits, oldest first, of Total.
	Exits []ExitRecord
	Total uint64
}

// FatalExit is a vCPU that cannot go on, with all that a report needs. The machine's memory
// stays readable until Close.
type FatalExit struct {
	VCPU    int
	Reason  kvm.Reason
	Err     error
	Summary string // the exit with its values
	Code    uint64 // kvm.Exit.Code
	Addr    uint64 // kvm.Exit.Addr
	// Instructions are the bytes KVM reported with the exit, if it did.
	Instructions []byte
	// Early describes an exception before the kernel had vectors of its own; the registers
	// are those of the instruction that raised it.
	Early string
	CPUs  []CPUState
}

// Error is one line.
func (f *FatalExit) Error() string {
	if f.Early != "" {
		return fmt.Sprintf("vCPU %d: %s", f.VCPU, f.Early)
	}
	s := fmt.Sprintf("vCPU %d: %s: %s", f.VCPU, f.Summary, f.Reason.Meaning())
	if f.Err != nil && f.Err != errUnexpected {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (f *FatalExit) Unwrap() error { return f.Err }

// complete reads the state of all vCPUs, whose threads have ended.
func (f *FatalExit) complete(m *Machine) {
	f.CPUs = m.CPUStates()
	if f.Err != errEarly {
		return
	}
	for i := range f.CPUs {
		if s := &f.CPUs[i]; s.ID == f.VCPU && s.Registers != nil {
			read := func(gva uint64, n int) []byte { return m.mem.ReadVirtual(s.Registers, gva, n) }
			f.Early = earlyException(s.Registers, m.early, read)
			s.Code = read(s.Registers.PC(), codeBytes)
		}
	}
}

// codeBytes is how much code a report holds.
const codeBytes = 64

// CPUStates reads all vCPUs. Only when they stand still: after Run has returned, or paused; the exits only after Run.
func (m *Machine) CPUStates() []CPUState {
	states := make([]CPUState, 0, len(m.cpus))
	for _, c := range m.cpus {
		s := CPUState{ID: c.v.ID, Exits: c.history.records(), Total: c.history.total}
		if s.Registers, s.Err = m.Registers(c.v.ID); s.Err == nil {
			s.Code = m.mem.ReadVirtual(s.Registers, s.Registers.PC(), codeBytes)
		}
		states = append(states, s)
	}
	return states
}

// ReadVirtual reads up to n bytes at a GVA through the page tables in force in r. It stops at
// the first byte that does not translate to RAM.
func (m *Memory) ReadVirtual(r *Registers, gva uint64, n int) []byte {
	out := make([]byte, 0, n)
	for len(out) < n {
		gpa, ok := m.Translate(r, gva)
		if !ok {
			break
		}
		page := min(n-len(out), int(0x1000-gva&0xfff))
		buf := out[len(out) : len(out)+page]
		got := m.Peek(gpa, buf)
		out = out[:len(out)+got]
		if got < page {
			break
		}
		gva += uint64(page)
	}
	return out
}

// Translate is the GPA of a GVA through the page tables in force in r.
func (m *Memory) Translate(r *Registers, gva uint64) (gpa uint64, ok bool) {
	w := m.Walk(r, gva)
	return w.PA, w.Result == pagetable.WalkMapped
}

// Walk is the way of gva through the page tables in force in r.
func (m *Memory) Walk(r *Registers, gva uint64) pagetable.Walk {
	return m.WalkRoot(r.Root(gva), gva)
}
