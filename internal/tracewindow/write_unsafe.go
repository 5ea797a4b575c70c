package tracewindow

import (
	"sync/atomic"
	"unsafe"
)

// Rings is the window as the kernel writes it: an address and numbers, no pointers, so that it may be static data of the nucleus.
// The zero value is off. Sound as long as the memory given to Init stays mapped.
type Rings struct {
	base   uintptr // of ring 0
	seq    uintptr // address of Header.Seq
	stride uintptr
	mask   uint64
	cpus   uint32
}

// On says whether events are wanted. This is what a hook costs when they are not.
func (r *Rings) On() bool { return r.base != 0 }

// Init lays the window out in [addr, addr+size), zeroed memory, and fills in the schema. Without allocation: the nucleus calls it.
// It answers false when there is not room for a small ring a CPU.
func (r *Rings) Init(addr uintptr, size uint64, cpus int, h *Header) bool {
	if cpus < 1 || cpus > MaxCPUs || size < HeaderSize {
		return false
	}
	slots := uint64(minSlots)
	for SizeFor(cpus, int(slots)*2) <= size && slots < 1<<24 {
		slots *= 2
	}
	if SizeFor(cpus, int(slots)) > size {
		return false
	}
	w := (*Header)(pointer(addr))
	*w = *h
	w.Magic, w.Version, w.Size = 0, Version, size
	w.CPUs, w.Slots = uint32(cpus), uint32(slots)
	w.RingOffset, w.RingStride = HeaderSize, uint32(ringHeader+slots*EventSize)
	for i := range meanings {
		m := &meanings[i]
		k := &w.Kinds[m.kind&31]
		copy(k.Name[:15], m.name)
		for f := range m.fields {
			copy(k.Fields[f][:11], m.fields[f])
			k.Formats[f] = m.formats[f]
		}
	}
	*r = Rings{base: addr + HeaderSize, seq: addr + unsafe.Offsetof(w.Seq), stride: uintptr(w.RingStride), mask: slots - 1, cpus: uint32(cpus)}
	atomic.StoreUint64(&w.Magic, Magic)
	return true
}

// Emit writes an event. Any context; r is on. cpu and time are the caller's; a wrong CPU costs nothing but its place.
func (r *Rings) Emit(cpu int, time uint64, kind Kind, code uint16, task uint32, a0, a1, a2, a3 uint64) {
	r.Emit6(cpu, time, kind, code, task, a0, a1, a2, a3, 0, 0)
}

// Emit6 is Emit with all fields.
func (r *Rings) Emit6(cpu int, time uint64, kind Kind, code uint16, task uint32, a0, a1, a2, a3, a4, a5 uint64) {
	if uint32(cpu) >= r.cpus {
		cpu = 0
	}
	ring := r.base + uintptr(cpu)*r.stride
	slot := atomic.AddUint64((*uint64)(pointer(ring)), 1) - 1
	seq := atomic.AddUint64((*uint64)(pointer(r.seq)), 1)
	e := (*Event)(pointer(ring + ringHeader + uintptr(slot&r.mask)*EventSize))
	e.Seq, e.Time = seq, time
	e.Kind, e.CPU, e.Code, e.Task = kind, uint8(cpu), code, task
	e.Args[0], e.Args[1], e.Args[2], e.Args[3], e.Args[4], e.Args[5] = a0, a1, a2, a3, a4, a5
	e.Slot = uint32(slot)
	e.Check = check(seq, time, uint64(kind)|uint64(uint8(cpu))<<8|uint64(code)<<16|uint64(task)<<32, a0, a1, a2, a3, a4, a5, uint32(slot))
}

// check is over all of an event. Rotations make words that have changed places count.
func check(seq, time, head, a0, a1, a2, a3, a4, a5 uint64, slot uint32) uint32 {
	v := seq ^ rotate(time, 7) ^ rotate(head, 13) ^ rotate(a0, 19) ^ rotate(a1, 29) ^ rotate(a2, 37) ^ rotate(a3, 43) ^ rotate(a4, 51) ^ rotate(a5, 57) ^ uint64(slot)*0x9e3779b97f4a7c15
	return uint32(v>>32) ^ uint32(v) ^ 0x5a17
}

func rotate(v uint64, n uint) uint64 { return v<<n | v>>(64-n) }

// pointer is an address in the window.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// overlay copies b, exactly the size of a T, into one: a struct of this package; both sides are little-endian.
func overlay[T any](b []byte) (v T) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)), b)
	return v
}
