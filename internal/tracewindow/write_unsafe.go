package tracewindow

import (
	"sync/atomic"
	"unsafe"
)

// Rings is the window as the kernel writes it: an address and numbers, no pointers, so that it may be static data of the nucleus.
// The zero value is off. Sound as long as the memory given to Init stays mapped.
type Rings struct {
	base   uintptr // of ring 0
	on     uint32
	stride uintptr
	mask   uint64
	cpus   uintptr
}

// On says whether events are wanted. This is what a hook costs when they are not.
func (r *Rings) On() bool { return atomic.LoadUint32(&r.on) != 0 }

// Set turns the recorder on, or off for a while. Any context. It stays off where Init has not laid out a window.
func (r *Rings) Set(on bool) {
	v := uint32(0)
	if on && r.base != 0 {
		v = 1
	}
	atomic.StoreUint32(&r.on, v)
}

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
	*r = Rings{base: addr + HeaderSize, on: 1, stride: uintptr(w.RingStride), mask: slots - 1, cpus: uintptr(cpus)}
	atomic.StoreUint64(&w.Magic, Magic)
	return true
}

// Head is the word of an event that says of what kind it is, and of whom.
func Head(kind Kind, cpu int, code uint16, task uint32) uint64 {
	return uint64(kind) | uint64(uint8(cpu))<<8 | uint64(code)<<16 | uint64(task)<<32
}

// Emit writes an event. Any context; r has a window. cpu and time are the caller's; a wrong CPU costs nothing but its place.
func (r *Rings) Emit(cpu int, time uint64, kind Kind, code uint16, task uint32, a0, a1, a2, a3 uint64) {
	r.Call(time, Head(kind, cpu, code, task), a0, &[4]uint64{a1, a2, a3}, 0)
}

// Call writes an event with five fields and a short one. time 0: the counter was not looked at, see Event.
func (r *Rings) Call(time, head, first uint64, rest *[4]uint64, short uint32) {
	cpu := uintptr(head >> 8 & 0xff)
	if cpu >= r.cpus {
		cpu = 0
	}
	ring := r.base + cpu*r.stride
	slot := atomic.AddUint64((*uint64)(pointer(ring)), 1) - 1
	// Until the check word is there, the slot's is that of an event in another one.
	e := (*record)(pointer(ring + ringHeader + uintptr(slot&r.mask)*EventSize))
	a1, a2, a3, a4 := rest[0], rest[1], rest[2], rest[3]
	e.Time, e.Head = time, head
	e.Args[0], e.Args[1], e.Args[2], e.Args[3], e.Args[4] = first, a1, a2, a3, a4
	v := time ^ rotate(head, 13) ^ rotate(first, 19) ^ rotate(a1, 29) ^ rotate(a2, 37) ^ rotate(a3, 43) ^ rotate(a4, 51) ^ rotate(uint64(short), 57) ^ (slot+1)*0x9e3779b97f4a7c15
	e.Tail = uint64(short) | uint64(fold(v))<<32
}

// check is over all of an event and its slot, as Call computes it. Rotations make words that have changed places count.
func (e *record) check(slot uint64) uint32 {
	a := &e.Args
	return fold(e.Time ^ rotate(e.Head, 13) ^ rotate(a[0], 19) ^ rotate(a[1], 29) ^ rotate(a[2], 37) ^ rotate(a[3], 43) ^ rotate(a[4], 51) ^
		rotate(e.Tail&0xffff_ffff, 57) ^ (slot+1)*0x9e3779b97f4a7c15)
}

func fold(v uint64) uint32 { return uint32(v>>32) ^ uint32(v) ^ 0x5a17 }

func rotate(v uint64, n uint) uint64 { return v<<n | v>>(64-n) }

// pointer is an address in the window.
func pointer(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// overlay copies b, exactly the size of a T, into one: a struct of this package; both sides are little-endian.
func overlay[T any](b []byte) (v T) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)), b)
	return v
}
