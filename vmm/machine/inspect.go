package machine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"ringo/internal/pagetable"
)

// Vector reads the vector registers of a vCPU that stands still.
func (m *Machine) Vector(id int) (*Vector, error) {
	c, unlock, err := m.still(id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return c.v.Vector()
}

// SetVector changes them.
func (m *Machine) SetVector(id int, v *Vector) error {
	c, unlock, err := m.still(id)
	if err != nil {
		return err
	}
	defer unlock()
	return c.v.SetVector(v)
}

// Leaves visits the pages that the tables at root map from va to last (inclusive), which lie in one half of the address
// space, in order. It answers false when there were more than a guest with tables in order has.
func (m *Memory) Leaves(root, va, last uint64, visit func(pagetable.Leaf) bool) (complete bool) {
	return readLeaves(root, va, last, func(gpa uint64) (uint64, bool) {
		var b [8]byte
		n := m.Peek(gpa, b[:])
		return binary.LittleEndian.Uint64(b[:]), n == len(b)
	}, maxLeafReads, visit)
}

// maxLeafReads bounds Leaves: entries that a guest of MaxMemory with every page mapped twice in 4 KiB has.
const maxLeafReads = 2 * MaxMemory / pageSize

// Populated is the RAM that may be other than zero: what nobody ever touched costs neither time nor memory to leave out. Ordered
// and disjoint; multiples of the page size.
func (m *Memory) Populated() ([]Range, error) {
	var out []Range
	add := func(base, size uint64) {
		if n := len(out); n > 0 && out[n-1].Base+out[n-1].Size >= base {
			out[n-1].Size = max(out[n-1].Size, base+size-out[n-1].Base)
			return
		}
		out = append(out, Range{base, size})
	}
	m.sharing.mu.Lock()
	defer m.sharing.mu.Unlock()
	for i := range m.slots {
		s := &m.slots[i]
		for at := uint64(0); at < s.Size; {
			from, to, err := m.nextData(s, at)
			if err != nil {
				return nil, err
			}
			for _, r := range m.sharing.ranges { // their bytes are in a file
				if off := r.Base - s.Base; r.Base >= s.Base && off < s.Size && off+r.Size > at && off <= from {
					from, to = max(off, at), off+r.Size
				}
			}
			if from >= s.Size {
				break
			}
			add(s.Base+from, min(to, s.Size)-from)
			at = to
		}
	}
	return out, nil
}

// nextData is the next run of the memfd's data at or behind offset at of the slot, [s.Size, s.Size) when there is none.
func (m *Memory) nextData(s *slot, at uint64) (from, to uint64, err error) {
	data, err := unix.Seek(m.fd, s.offset+int64(at), unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) || err == nil && uint64(data-s.offset) >= s.Size {
		return s.Size, s.Size, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("find the data in guest RAM: %w", err)
	}
	hole, err := unix.Seek(m.fd, data, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, fmt.Errorf("find the holes in guest RAM: %w", err)
	}
	return uint64(data - s.offset), min(uint64(hole-s.offset), s.Size), nil
}
