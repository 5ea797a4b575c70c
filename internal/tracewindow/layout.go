// Package tracewindow is the layout of the trace window, the kernel's flight recorder, its writer and its reader: one ring of fixed-size
// binary events a CPU in a piece of guest RAM (bootinfo.Info.Trace). The kernel stores, nobody exits; the monitor reads
// the rings of a running guest or a dead one, or a file that is a copy of them.
//
// # Writing
//
// Any context may write at any time, handlers of the nucleus included: a writer takes a slot of its CPU's ring with one
// atomic addition and stores the event, a cache line. Nothing is locked, and nobody waits. A writer that is preempted or
// moved in between still owns its slot, until the ring has gone round. The oldest events are overwritten.
//
// # Reading
//
// Every event carries a check word over all its bytes and the number of its slot: events that are half written or half
// overwritten are recognised, dropped and counted. What is lost is known too: slots taken minus events read. Slots are the order within
// a ring, counter values, the same on all CPUs, that between rings. A quick system call's event has no counter value. The
// header says what the fields of each kind mean, so a reader needs no knowledge of the kernel's version.
package tracewindow

import "unsafe" // for sizes and offsets

// Magic and Version open the window; the kernel writes Magic last.
const (
	Magic   = 0x4543_4152_544e_4952 // "RINTRACE"
	Version = 2
)

// Sizes, in bytes.
const (
	HeaderSize = 4096
	EventSize  = 64 // a cache line
	ringHeader = 64 // a ring begins with the number of slots taken so far, alone in its cache line
	MaxCPUs    = 64
	// MinRing is the smallest ring that Init makes, MinSize the smallest window for n CPUs.
	minSlots = 64
)

// SizeFor is the size of a window with slots events a CPU.
func SizeFor(cpus, slots int) uint64 {
	return (HeaderSize + uint64(cpus)*(ringHeader+uint64(slots)*EventSize) + 4095) &^ 4095
}

// Kind is what an event tells.
type Kind uint8

// Kinds of events. Field names and formats are in the header's schema; this is its source.
const (
	None        Kind = iota
	Switch           // a CPU runs another runtime thread
	Block            // a task goes to sleep
	Wake             // it runs again
	Enter            // a system call sleeps for the first time: its arguments, of the sixth 32 bits; Code is its number
	Exit             // a system call has ended; Code is its number, took at most LongCall
	Fault            // a page fault of user mode
	KernelFault      // a page fault of the Go heap
	FrameAlloc       // of physical memory; Code is the owner (debugwindow.FrameTable.Owners)
	FrameFree
	Signal // a signal is delivered to a task; Code is its number
	IRQ    // an interrupt; Code is 0 for the timer, 1 for another CPU, 16+n for a line
	Mark   // text
	Task   // a task begins or has a new name
	TaskEnd
	Shootdown
	numKinds
)

// NumKinds is how many kinds there are, None included.
const NumKinds = int(numKinds)

// LongCall in the time that an Exit took: that long or longer. Such a call has an Enter if it slept.
const LongCall = 1<<32 - 1

// Format says how a field is to be shown.
type Format uint8

// Formats.
const (
	Unused Format = iota
	Hex
	Signed
	Unsigned
	Result   // of a system call: a value or a negated errno
	Code     // GVA of code
	Address  // GVA
	Physical // GPA
	Nanos    // a time in ns
	Ticks    // a time in counter ticks
	Text     // eight characters, NUL padded
	Wait     // debugwindow.Wait
	How      // how a sleep ended: 0 woken, 1 interrupted, 2 timed out
	AccessKind
)

// Meaning is the schema of one kind.
type Meaning struct {
	Name    [16]byte
	Fields  [6][12]byte
	Formats [6]Format // the sixth field has 32 bits
	_       [2]byte
}

// record is one event: the wire layout.
type record struct {
	Time uint64 // counter value, 0: not looked at
	Head uint64
	Args [5]uint64
	Tail uint64 // the sixth field, of 32 bits, and a check word
}

// Event is an event that was read.
type Event struct {
	Seq  uint64 // its place in the order of all that were read with it, from 1
	Slot uint64 // how many events its ring had before it
	Time uint64 // counter value; of an event for which the counter was not looked at that of the one before it in its ring
	Ring uint8
	Kind Kind
	CPU  uint8
	Code uint16
	Task uint32 // tid; for Switch, IRQ and what the nucleus does: 0
	Args [6]uint64
}

// Header opens the window.
type Header struct {
	Magic      uint64
	Version    uint32
	Machine    uint32 // ELF machine number
	Size       uint64 // of the window
	CPUs       uint32
	Slots      uint32 // a ring, a power of two
	RingOffset uint32 // of ring 0 in the window
	RingStride uint32
	CounterHz  uint64
	KernelVirt uint64 // GVA of the kernel image
	KernelSize uint64
	Started    uint64 // counter value of the beginning
	WallClock  int64  // ns since 1970 then
	_          [14]uint64

	Kinds [32]Meaning
}

var _ [HeaderSize - unsafe.Sizeof(Header{})]byte

// meanings are the schema. Static data without initialisation code, as the nucleus writes the header before
// package initialisation.
var meanings = [...]struct {
	kind    Kind
	name    string
	fields  [6]string
	formats [6]Format
}{
	{Switch, "switch", [6]string{"to", "from", "pc"}, [6]Format{Unsigned, Unsigned, Code}},
	{Block, "block", [6]string{"wait", "call", "in", "by"}, [6]Format{Wait, Signed, Code, Code}},
	{Wake, "wake", [6]string{"slept", "how"}, [6]Format{Ticks, How}},
	{Enter, "enter", [6]string{"arg0", "arg1", "arg2", "arg3", "arg4", "arg5"}, [6]Format{Hex, Hex, Hex, Hex, Hex, Hex}},
	{Exit, "exit", [6]string{"result", "arg0", "arg1", "arg2", "arg3", "took"}, [6]Format{Result, Hex, Hex, Hex, Hex, Ticks}},
	{Fault, "fault", [6]string{"address", "access", "pc"}, [6]Format{Address, AccessKind, Address}},
	{KernelFault, "kernel fault", [6]string{"address", "frame"}, [6]Format{Address, Physical}},
	{FrameAlloc, "frame alloc", [6]string{"frame", "order", "by", "from"}, [6]Format{Physical, Unsigned, Code, Code}},
	{FrameFree, "frame free", [6]string{"frame", "order", "by", "from"}, [6]Format{Physical, Unsigned, Code, Code}},
	{Signal, "signal", [6]string{"code", "handler"}, [6]Format{Signed, Address}},
	{IRQ, "irq", [6]string{"source", "pc"}, [6]Format{Unsigned, Address}},
	{Mark, "mark", [6]string{"text", "", "", ""}, [6]Format{Text, Text, Text, Text}},
	{Task, "task", [6]string{"pid", "parent", "name", ""}, [6]Format{Unsigned, Unsigned, Text, Text}},
	{TaskEnd, "task end", [6]string{"status"}, [6]Format{Hex}},
	{Shootdown, "shootdown", [6]string{"address", "size", "root", "cpus"}, [6]Format{Address, Hex, Physical, Hex}},
}
