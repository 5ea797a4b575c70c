package machine

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// MMIODevice answers accesses to a window of guest-physical addresses or I/O ports. offset is
// relative to the window's start and data lies within the window; its length is whatever the
// guest's instruction had (1 to 8). Called from several vCPU threads at once.
type MMIODevice interface {
	Read(offset uint64, data []byte)
	Write(offset uint64, data []byte)
}

type window struct {
	base, size uint64
	name       string
	dev        MMIODevice
}

// bus finds the device of an address. Devices are added before the vCPUs run and the bus
// does not change afterwards, so that lookups take no lock.
type bus struct {
	kind      string // "MMIO" or "I/O port", for errors
	windows   []window
	unclaimed atomic.Uint64
}

func (b *bus) add(name string, base, size uint64, dev MMIODevice) error {
	if size == 0 || base+size < base {
		return fmt.Errorf("%s window of %s at %#x, %#x bytes: empty or wraps", b.kind, name, base, size)
	}
	i, _ := slices.BinarySearchFunc(b.windows, base, func(w window, base uint64) int {
		if w.base < base {
			return -1
		}
		return 1
	})
	for _, w := range b.windows {
		if base < w.base+w.size && w.base < base+size {
			return fmt.Errorf("%s window of %s at %#x, %#x bytes overlaps %s at %#x", b.kind, name, base, size, w.name, w.base)
		}
	}
	b.windows = slices.Insert(b.windows, i, window{base, size, name, dev})
	return nil
}

func (b *bus) find(addr uint64, size int) *window {
	lo, hi := 0, len(b.windows)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		w := &b.windows[mid]
		switch {
		case addr < w.base:
			hi = mid
		case addr >= w.base+w.size:
			lo = mid + 1
		case uint64(size) > w.base+w.size-addr:
			return nil // straddles the end
		default:
			return w
		}
	}
	return nil
}

// access performs one access. Where nothing is, reads are all ones and writes vanish; it
// answers false then.
func (b *bus) access(addr uint64, data []byte, write bool) (err error, claimed bool) {
	w := b.find(addr, len(data))
	if w == nil {
		b.unclaimed.Add(1)
		if !write {
			for i := range data {
				data[i] = 0xff
			}
		}
		return nil, false
	}
	// A panic in a device is the monitor's fault; it must end in a report about the guest
	// that caused it, not in a Go trace of the whole process.
	defer func() {
		if r := recover(); r != nil {
			claimed = true
			err = fmt.Errorf("device %s: %s %#x, %d bytes, write %t: panic: %v", w.name, b.kind, addr, len(data), write, r)
		}
	}()
	if write {
		w.dev.Write(addr-w.base, data)
	} else {
		w.dev.Read(addr-w.base, data)
	}
	return nil, true
}
