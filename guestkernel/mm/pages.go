package mm

import "sync/atomic"

// pte is one entry of the page map: the frame's GPA and flags in the low 12 bits. Zero means
// that the page has not been touched.
type pte uint64

const (
	ptePresent pte = 1 << iota
	// pteShared marks a frame that others own too, by something else than a forked page map:
	// the page cache, shared memory or the zero frame. In a private mapping a write always copies it.
	pteShared
	// pteMapped: the hardware page table has the page.
	pteMapped
	// pteWritable: the hardware page table has it writable.
	pteWritable
)

func (e pte) phys() uint64 { return uint64(e) &^ pageMask }

// chunk holds the entries of one aligned 2 MiB run.
const (
	chunkShift = 21
	chunkPages = 1 << (chunkShift - PageShift)
	chunkBytes = chunkPages*8 + 64 // with its place in the map
)

type chunk struct {
	used int // present entries
	ptes [chunkPages]pte
}

// pageMap is the set of touched pages of an address space.
type pageMap struct {
	chunks   map[uint64]*chunk // by address >> chunkShift
	resident int               // present entries
	count    *atomic.Int64     // chunks of all spaces

	lastKey uint64 // one-entry cache in front of chunks
	last    *chunk
}

func (m *pageMap) chunkOf(va uint64) *chunk {
	key := va >> chunkShift
	if m.last != nil && m.lastKey == key {
		return m.last
	}
	c := m.chunks[key]
	if c != nil {
		m.lastKey, m.last = key, c
	}
	return c
}

func (m *pageMap) get(va uint64) pte {
	c := m.chunkOf(va)
	if c == nil {
		return 0
	}
	return c.ptes[va>>PageShift%chunkPages]
}

func (m *pageMap) set(va uint64, e pte) {
	c := m.chunkOf(va)
	if c == nil {
		if e == 0 {
			return
		}
		if m.chunks == nil {
			m.chunks = make(map[uint64]*chunk)
		}
		c = new(chunk)
		key := va >> chunkShift
		m.chunks[key] = c
		m.count.Add(1)
		m.lastKey, m.last = key, c
	}
	slot := &c.ptes[va>>PageShift%chunkPages]
	switch {
	case *slot == 0 && e != 0:
		c.used++
		m.resident++
	case *slot != 0 && e == 0:
		c.used--
		m.resident--
		if c.used == 0 {
			delete(m.chunks, va>>chunkShift)
			m.count.Add(-1)
			m.last = nil
		}
	}
	*slot = e
}

// each calls fn for every present entry of [start, end), in no particular order between
// chunks. fn may clear or replace the entry through the pointer but must use drop to clear it.
func (m *pageMap) each(start, end uint64, fn func(va uint64, e *pte)) {
	if start >= end || len(m.chunks) == 0 {
		return
	}
	first, last := start>>chunkShift, (end-1)>>chunkShift
	visit := func(key uint64, c *chunk) {
		lo, hi := uint64(0), uint64(chunkPages)
		base := key << chunkShift
		if base < start {
			lo = (start - base) >> PageShift
		}
		if base+1<<chunkShift > end {
			hi = (end - base + pageMask) >> PageShift
		}
		for i := lo; i < hi; i++ {
			if c.ptes[i] != 0 {
				fn(base+i<<PageShift, &c.ptes[i])
			}
		}
	}
	if last-first >= uint64(len(m.chunks)) {
		for key, c := range m.chunks {
			if key >= first && key <= last {
				visit(key, c)
			}
		}
		return
	}
	for key := first; key <= last; key++ {
		if c := m.chunks[key]; c != nil {
			visit(key, c)
		}
	}
}
