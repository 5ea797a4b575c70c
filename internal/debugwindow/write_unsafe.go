package debugwindow

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Registry is the window as the kernel writes it. It keeps no Go pointers in the window, and the window is
// not Go heap: sound as long as the memory given to Format stays mapped.
type Registry struct {
	base unsafe.Pointer
	h    *Header
}

// ErrSmall: the window has no room for one entry of each kind.
var ErrSmall = errors.New("debug window is too small")

// Format lays the window out in b (page aligned, zeroed) for a number of CPUs. The caller fills the header's
// remaining fields and the CPUs' entries, then calls Publish.
func Format(b []byte, cpus int) (*Registry, error) {
	taskOffset := (HeaderSize + CPUSize*cpus + TaskSize - 1) / TaskSize * TaskSize
	if len(b) < MinSize || cpus < 1 || cpus > MaxCPUs || uintptr(unsafe.Pointer(&b[0]))%8 != 0 {
		return nil, fmt.Errorf("%w: %d bytes, %d CPUs, at least %d bytes", ErrSmall, len(b), cpus, MinSize)
	}
	r := &Registry{base: unsafe.Pointer(&b[0])}
	r.h = (*Header)(r.base)
	h := r.h
	h.Version, h.Size = Version, uint64(len(b))
	h.CPUs, h.CPUOffset = uint32(cpus), HeaderSize
	h.Tasks, h.TaskOffset = uint32(min((len(b)-taskOffset)/TaskSize, MaxTasks)), uint32(taskOffset)
	h.Runtime = Runtime
	return r, nil
}

// Publish makes the window valid for readers.
func (r *Registry) Publish() { atomic.StoreUint64(&r.h.Magic, Magic) }

// Header is the header in place.
func (r *Registry) Header() *Header { return r.h }

// Guard is what the monitor wants now.
func (r *Registry) Guard() uint32 { return atomic.LoadUint32(&r.h.Guard) }

// CPU is the entry of CPU i, in place.
func (r *Registry) CPU(i int) *CPU {
	if uint(i) >= uint(r.h.CPUs) {
		panic(fmt.Sprintf("debug window has no CPU %d", i))
	}
	return (*CPU)(unsafe.Add(r.base, HeaderSize+CPUSize*i))
}

// Task is the entry of a slot, in place.
func (r *Registry) Task(slot int) *Task {
	if uint(slot) >= uint(r.h.Tasks) {
		panic(fmt.Sprintf("debug window has no slot %d", slot))
	}
	return (*Task)(unsafe.Add(r.base, int(r.h.TaskOffset)+TaskSize*slot))
}

// Begin opens a change of the entry, End closes it. Only the entry's owner.
func (t *Task) Begin() { atomic.AddUint32(&t.Seq, 1) }

// End closes what Begin opened.
func (t *Task) End() { atomic.AddUint32(&t.Seq, 1) }

// SetComm stores a name.
func (t *Task) SetComm(name string) {
	t.Comm = [16]byte{}
	copy(t.Comm[:15], name)
}

// overlay copies b, exactly the size of a T, into one. T is a struct of this package without pointers or padding that
// matters; both sides are little-endian.
func overlay[T any](b []byte) (v T) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)), b)
	return v
}
