package mm

import (
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeHardware is physical memory and page tables in the Go heap. It fails the test on every
// use of a frame that is free.
type fakeHardware struct {
	t  testing.TB
	mu sync.Mutex

	frames map[uint64]*fakeFrame
	next   uint64
	limit  int // most frames in use, 0: no limit
	tables int
	// failMap makes the next n Map calls fail.
	failMap int
}

type fakeFrame struct {
	data [PageSize]byte
	refs int
}

func newFake(t testing.TB) *fakeHardware {
	return &fakeHardware{t: t, frames: make(map[uint64]*fakeFrame), next: PageSize}
}

func (h *fakeHardware) Alloc() (uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limit > 0 && len(h.frames) >= h.limit {
		return 0, unix.ENOMEM
	}
	p := h.next
	h.next += PageSize
	h.frames[p] = &fakeFrame{refs: 1}
	return p, nil
}

func (h *fakeHardware) frame(p uint64) *fakeFrame {
	f := h.frames[p]
	if f == nil {
		panic(fmt.Sprintf("use of free frame %#x", p))
	}
	return f
}

func (h *fakeHardware) Ref(p uint64) { h.mu.Lock(); defer h.mu.Unlock(); h.frame(p).refs++ }
func (h *fakeHardware) Unref(p uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.frame(p)
	if f.refs--; f.refs == 0 {
		delete(h.frames, p)
	}
}
func (h *fakeHardware) RefCount(p uint64) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.frame(p).refs
}
func (h *fakeHardware) Bytes(p uint64) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.frame(p).data[:]
}
func (h *fakeHardware) inUse() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.frames) }

func (h *fakeHardware) NewTable() (PageTable, error) {
	h.tables++
	return &fakeTable{h: h, pages: make(map[uint64]fakePTE), tlb: make(map[uint64]fakePTE)}, nil
}

type fakePTE struct {
	phys uint64
	prot Prot
}

// fakeTable is a page table with a TLB that keeps every translation it has used until it is flushed.
type fakeTable struct {
	h          *fakeHardware
	pages, tlb map[uint64]fakePTE
}

func (p *fakeTable) Map(va, phys uint64, prot Prot) error {
	if p.h.failMap > 0 {
		p.h.failMap--
		return unix.ENOMEM
	}
	p.h.Bytes(phys)
	if old, ok := p.pages[va]; ok && old.phys != phys {
		delete(p.tlb, va) // as the interface promises; a translation with fewer rights stays
	}
	p.pages[va] = fakePTE{phys, prot}
	return nil
}
func (p *fakeTable) Unmap(start, end uint64) {
	for va := range p.pages {
		if va >= start && va < end {
			delete(p.pages, va)
		}
	}
}
func (p *fakeTable) Flush(start, end uint64) {
	for va := range p.tlb {
		if va >= start && va < end {
			delete(p.tlb, va)
		}
	}
}
func (p *fakeTable) Root() uint64 { return 1 }
func (p *fakeTable) Release()     { p.h.tables-- }

// access is what the CPU does: TLB, then page table, then a fault.
func (s *Space) access(t testing.TB, addr uint64, access Prot) ([]byte, *Fault) {
	t.Helper()
	p := s.table.(*fakeTable)
	va := pageDown(addr)
	for range 3 {
		e, ok := p.tlb[va]
		if !ok || access&^e.prot != 0 {
			if e, ok = p.pages[va]; ok {
				p.tlb[va] = e
			}
		}
		if ok && access&^e.prot == 0 {
			return p.h.Bytes(e.phys)[addr-va:], nil
		}
		if f := s.HandleFault(addr, access); f != nil {
			return nil, f
		}
	}
	t.Fatalf("access %d to %#x faults for ever", access, addr)
	return nil, nil
}

// check verifies what must hold between two operations.
func (s *Space) check(t testing.TB) {
	t.Helper()
	p := s.table.(*fakeTable)
	h := p.h
	for va, e := range p.tlb {
		if now, ok := p.pages[va]; !ok || now.phys != e.phys || e.prot&^now.prot != 0 {
			t.Fatalf("stale TLB entry for %#x: %+v, table has %+v", va, e, now)
		}
	}
	end := uint64(0)
	mapped := uint64(0)
	for _, v := range s.vmas {
		if v.Start < end || v.Start >= v.End || v.Start%PageSize != 0 || v.End%PageSize != 0 {
			t.Fatalf("bad VMA %v behind %#x", v, end)
		}
		end = v.End
		mapped += v.Len()
	}
	if mapped != s.mapped {
		t.Fatalf("mapped %#x, VMAs have %#x", s.mapped, mapped)
	}
	resident := 0
	for key, c := range s.pages.chunks {
		used := 0
		for i, e := range c.ptes {
			if e == 0 {
				continue
			}
			used++
			va := key<<chunkShift + uint64(i)<<PageShift
			v := s.vmas.find(va)
			if v == nil {
				t.Fatalf("page %#x has no VMA", va)
			}
			hw, ok := p.pages[va]
			if ok != (e&pteMapped != 0) || ok && (hw.phys != e.phys() || (hw.prot&Write != 0) != (e&pteWritable != 0)) {
				t.Fatalf("page %#x: entry %#x, table %+v %v", va, e, hw, ok)
			}
			if ok && hw.prot&^v.Prot.effective() != 0 {
				t.Fatalf("page %#x has rights %d, VMA %v", va, hw.prot, v)
			}
			if e&pteWritable != 0 && v.Flags&VMAShared == 0 && (h.RefCount(e.phys()) != 1 || e&pteShared != 0) {
				t.Fatalf("private page %#x is writable with %d references", va, h.RefCount(e.phys()))
			}
		}
		if used != c.used || used == 0 {
			t.Fatalf("chunk %#x counts %d, has %d", key, c.used, used)
		}
		resident += used
	}
	if resident != s.pages.resident {
		t.Fatalf("resident %d, has %d", s.pages.resident, resident)
	}
	for va := range p.pages {
		if s.pages.get(va)&pteMapped == 0 {
			t.Fatalf("page table has %#x, page map does not", va)
		}
	}
}

// fakeFile is an Object with a fixed content pattern.
type fakeFile struct {
	h      *fakeHardware
	id     byte
	frames []uint64
	users  int
}

func newFile(h *fakeHardware, id byte, pages int) *fakeFile {
	f := &fakeFile{h: h, id: id}
	for i := range pages {
		p, _ := h.Alloc()
		b := h.Bytes(p)
		for j := range b {
			b[j] = id + byte(i)
		}
		f.frames = append(f.frames, p)
	}
	return f
}

func (f *fakeFile) Page(off uint64, _ bool) (uint64, error) {
	i := off / PageSize
	if i >= uint64(len(f.frames)) {
		return 0, ErrBeyondEnd
	}
	f.h.Ref(f.frames[i])
	return f.frames[i], nil
}
func (f *fakeFile) Attach(*Space) { f.users++ }
func (f *fakeFile) Detach(*Space) { f.users-- }
func (f *fakeFile) Identity() any { return f }
func (f *fakeFile) free() {
	for _, p := range f.frames {
		f.h.Unref(p)
	}
}

func testSpace(t testing.TB) (*fakeHardware, *Memory, *Space) {
	t.Helper()
	h := newFake(t)
	m, err := NewMemory(h)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.NewSpace(func() uint64 { return 0 }, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	return h, m, s
}

func mustMap(t testing.TB, s *Space, r Request) uint64 {
	t.Helper()
	a, err := s.Map(r)
	if err != nil {
		t.Fatalf("map %+v: %v", r, err)
	}
	return a
}

// drained checks that nothing is left but the zero frame.
func drained(t testing.TB, h *fakeHardware, m *Memory) {
	t.Helper()
	m.Close()
	if n := h.inUse(); n != 0 {
		t.Errorf("%d frames leaked", n)
	}
	if h.tables != 0 {
		t.Errorf("%d page tables leaked", h.tables)
	}
}
