package mm

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Memory is the machine's memory as the address spaces see it. One exists per kernel.
type Memory struct {
	hw   Hardware
	zero uint64 // the zero frame, mapped read-only wherever untouched anonymous memory is read

	// Page maps are kernel memory that programs can ask for at will, by touching sparse addresses.
	chunks    atomic.Int64 // in use by all spaces
	maxChunks int64        // 0: no limit
}

// LimitMaps bounds the kernel memory that the page maps of all spaces may take, in bytes. A program that needs more is
// killed as if memory had run out. Call before the first space exists.
func (m *Memory) LimitMaps(bytes uint64) { m.maxChunks = int64(bytes / chunkBytes) }

// mapsFull says whether n more chunks would be too many.
func (m *Memory) mapsFull(n int) bool {
	return m.maxChunks > 0 && m.chunks.Load()+int64(n) > m.maxChunks
}

// NewMemory takes one frame for the zero page. The error is ENOMEM.
func NewMemory(hw Hardware) (*Memory, error) {
	zero, err := hw.Alloc()
	if err != nil {
		return nil, err
	}
	return &Memory{hw: hw, zero: zero}, nil
}

// Close gives the zero frame back; no space may be left.
func (m *Memory) Close() { m.hw.Unref(m.zero) }

// Frames is the physical memory below.
func (m *Memory) Frames() Frames { return m.hw }

// Random yields the bits for address-space layout; it must be safe for concurrent use.
type Random func() uint64

// spaces counts the address spaces that were made.
var spaces atomic.Uint64

// Space is one user address space.
type Space struct {
	mem    *Memory
	serial uint64       // differs from every other space's
	users  atomic.Int32 // tasks that run in it
	owner  atomic.Int32 // their process

	mu    sync.Mutex // guards everything below and the page table
	table PageTable
	vmas  vmaSet
	pages pageMap
	dead  bool     // released: every operation fails
	gone  []Object // to be detached when mu is released

	mmapBase                uint64 // mappings are placed below
	brkStart, brk           uint64
	lockLimit               uint64 // bytes that may be locked when they are mapped (RLIMIT_MEMLOCK)
	lockFuture, lockOnFault bool   // mlockall(2)
	stackLimit              uint64 // bytes a stack may grow to (RLIMIT_STACK)
	addressLimit            uint64 // bytes of VMAs (RLIMIT_AS)
	mapped                  uint64 // bytes of VMAs
	peakMapped              uint64
	peakResident            int
	faults                  uint64

	image Image // set by the loader
}

// Image says where the loader put the program, for /proc and prctl.
type Image struct {
	CodeStart, CodeEnd uint64
	DataStart, DataEnd uint64
	StackStart         uint64
	ArgStart, ArgEnd   uint64
	EnvStart, EnvEnd   uint64
	Auxv               []uint64
	Path               string // of the executable
	Executable         Holder // counted for each space that runs it; nil: nobody wants to know
	Sigreturn          uint64 // address of the loader's rt_sigreturn code, 0 if there is none
}

// Holder is told how many address spaces run an executable.
type Holder interface {
	Hold()
	Release()
}

// Layout randomisation, in pages, as on Linux x86-64 and arm64 with 4 KiB pages.
const (
	stackGap       = 128 << 20 // the least distance of mmap_base from the top (mm/util.c MIN_GAP)
	stackRandPages = 1 << 22   // 16 GiB
	mmapRandPages  = 1 << 28
	// stackGuard is the distance in bytes that a growing stack keeps from the mapping below (stack_guard_gap).
	stackGuard = 256 * PageSize
)

// NewSpace returns an empty address space with one user. stackLimit is RLIMIT_STACK in bytes.
func (m *Memory) NewSpace(random Random, stackLimit uint64) (*Space, error) {
	table, err := m.hw.NewTable()
	if err != nil {
		return nil, err
	}
	gap := min(max(stackLimit, stackGap), UserTop/6*5) + stackRandPages*PageSize + stackGuard
	s := &Space{
		serial: spaces.Add(1),
		mem:    m, table: table, stackLimit: stackLimit, addressLimit: ^uint64(0), lockLimit: ^uint64(0),
		mmapBase: pageDown(UserTop - gap - (random()%mmapRandPages)*PageSize), pages: pageMap{count: &m.chunks},
	}
	s.users.Store(1)
	return s, nil
}

// StackTop picks a randomised top for the program's stack.
func StackTop(random Random) uint64 { return UserTop - (random()%stackRandPages)*PageSize }

// Root is the GPA for the CPU's page-table register.
func (s *Space) Root() uint64 { return s.table.Root() }

// Hold adds a user (CLONE_VM).
func (s *Space) Hold() { s.users.Add(1) }

// Users is the number of tasks that run in the space.
func (s *Space) Users() int { return int(s.users.Load()) }

// Release drops a user; the last one frees every frame and the page table, which must not be
// loaded on the calling task's CPU any more.
func (s *Space) Release() {
	if s.users.Add(-1) != 0 {
		return
	}
	s.mu.Lock()
	s.dead = true
	s.table.Unmap(0, UserTop)
	s.table.Flush(0, UserTop)
	for _, c := range s.pages.chunks {
		for _, e := range c.ptes {
			if e != 0 {
				s.mem.hw.Unref(e.phys())
			}
		}
	}
	s.mem.chunks.Add(-int64(len(s.pages.chunks)))
	s.pages = pageMap{}
	for _, v := range s.vmas {
		if v.Object != nil {
			s.gone = append(s.gone, v.Object)
		}
	}
	s.vmas = nil
	s.table.Release()
	executable := s.image.Executable
	s.unlock()
	if executable != nil {
		executable.Release()
	}
}

// Fork returns a copy of s with one user. Private pages are shared copy-on-write, shared
// mappings stay shared. Nothing of s changes but write permission in the page table.
func (s *Space) Fork() (*Space, error) {
	table, err := s.mem.hw.NewTable()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.unlock()
	c := &Space{
		serial: spaces.Add(1),
		mem:    s.mem, table: table, mmapBase: s.mmapBase, brkStart: s.brkStart, brk: s.brk,
		stackLimit: s.stackLimit, addressLimit: s.addressLimit, lockLimit: s.lockLimit, image: s.image, pages: pageMap{count: &s.mem.chunks},
	}
	if s.mem.mapsFull(len(s.pages.chunks)) {
		table.Release()
		return nil, unix.ENOMEM
	}
	c.users.Store(1)
	if c.image.Executable != nil {
		c.image.Executable.Hold()
	}
	c.vmas = make(vmaSet, 0, len(s.vmas))
	protected := uint64(0) // highest end of what lost write permission
	lowest := uint64(UserTop)
	for _, v := range s.vmas {
		if v.Flags&VMADontFork != 0 {
			continue
		}
		w := *v
		w.Flags &^= VMALocked
		if w.Object != nil {
			w.Object.Attach(c)
		}
		c.vmas = append(c.vmas, &w)
		c.mapped += w.Len()
		if v.Flags&(VMAShared|VMAWipeOnFork) != 0 {
			continue // found again by faulting, or meant to be empty
		}
		s.pages.each(v.Start, v.End, func(va uint64, e *pte) {
			s.mem.hw.Ref(e.phys())
			c.pages.set(va, *e&^(pteMapped|pteWritable))
			if *e&pteWritable != 0 {
				*e &^= pteWritable
				// Entered again read-only; the table has the page, so this cannot fail.
				if s.table.Map(va, e.phys(), v.Prot.effective()&^Write) != nil {
					s.table.Unmap(va, va+PageSize)
					*e &^= pteMapped
				}
				lowest, protected = min(lowest, va), max(protected, va+PageSize)
			}
		})
	}
	if lowest < protected {
		s.table.Flush(lowest, protected)
	}
	return c, nil
}

// SetLimits sets RLIMIT_STACK and RLIMIT_AS in bytes.
func (s *Space) SetLimits(stack, address uint64) {
	s.mu.Lock()
	defer s.unlock()
	s.stackLimit, s.addressLimit = stack, address
}

// SetImage records where the program lies and the first address of the heap.
func (s *Space) SetImage(img Image, brk uint64) {
	s.mu.Lock()
	defer s.unlock()
	s.image = img
	s.brkStart, s.brk = brk, brk
}

// Image is what SetImage recorded.
func (s *Space) Image() Image {
	s.mu.Lock()
	defer s.unlock()
	return s.image
}

// SigreturnAddr is where signal handlers without a restorer return to, 0 if there is no such place.
func (s *Space) SigreturnAddr() uint64 { return s.Image().Sigreturn }

// Usage is the space's size, in bytes.
type Usage struct{ Mapped, Resident, PeakMapped, PeakResident, Faults uint64 }

// Usage reports how large the space is.
func (s *Space) Usage() Usage {
	s.mu.Lock()
	defer s.unlock()
	return Usage{
		Mapped: s.mapped, PeakMapped: max(s.peakMapped, s.mapped), Faults: s.faults,
		Resident: uint64(s.pages.resident) * PageSize, PeakResident: uint64(max(s.peakResident, s.pages.resident)) * PageSize,
	}
}

// VMAs is a copy of the mappings in address order. A file that has a name of its own tells it now, so that a deleted one shows.
func (s *Space) VMAs() []VMA {
	s.mu.Lock()
	out := make([]VMA, len(s.vmas))
	for i, v := range s.vmas {
		out[i] = *v
	}
	s.unlock()
	for i := range out {
		if n, ok := out[i].Object.(interface{ Name() string }); ok {
			out[i].Name = n.Name()
		}
		out[i].Object = nil
	}
	return out
}

// dropLocked takes the pages of [start, end) out of the page map and the page table, flushes
// and then gives the frames back: in that order, so that no CPU writes to a frame that is free.
func (s *Space) dropLocked(start, end uint64) { s.dropMatchingLocked(start, end, 0) }

// dropMatchingLocked is dropLocked for the pages that have all of the given flags.
func (s *Space) dropMatchingLocked(start, end uint64, flags pte) {
	var gone []uint64
	flush := false
	s.peakResident = max(s.peakResident, s.pages.resident)
	s.pages.each(start, end, func(va uint64, e *pte) {
		if *e&flags != flags {
			return
		}
		gone = append(gone, va, e.phys())
		flush = flush || *e&pteMapped != 0
	})
	if len(gone) == 0 {
		return
	}
	for i := 0; i < len(gone); i += 2 {
		s.pages.set(gone[i], 0)
	}
	if flush {
		if flags == 0 {
			s.table.Unmap(start, end)
		} else {
			for i := 0; i < len(gone); i += 2 {
				s.table.Unmap(gone[i], gone[i]+PageSize)
			}
		}
		s.table.Flush(start, end)
	}
	for i := 1; i < len(gone); i += 2 {
		s.mem.hw.Unref(gone[i])
	}
}

// unmapTableLocked forgets the hardware entries of [start, end); faults bring them back with
// the rights that hold then.
func (s *Space) unmapTableLocked(start, end uint64) {
	flush := false
	s.pages.each(start, end, func(va uint64, e *pte) {
		flush = flush || *e&pteMapped != 0
		*e &^= pteMapped | pteWritable
	})
	if flush {
		s.table.Unmap(start, end)
		s.table.Flush(start, end)
	}
}

// unlock releases mu and then lets go of the objects that were unmapped under it: closing a
// file may take locks that come before mu.
func (s *Space) unlock() {
	gone := s.gone
	s.gone = nil
	s.mu.Unlock()
	for _, o := range gone {
		o.Detach(s)
	}
}

// Invalidate drops the pages of [off, off+length) of the object with this identity from every mapping of it, because the
// object gives them up. With copies, those that private mappings made of them go too (truncate(2)).
func (s *Space) Invalidate(identity any, off, length uint64, copies bool) {
	flags := pteShared
	if copies {
		flags = 0
	}
	s.mu.Lock()
	defer s.unlock()
	for _, v := range s.vmas {
		if v.Object == nil || v.Object.Identity() != identity {
			continue
		}
		lo, hi := max(off, v.Offset), v.Offset+v.Len()
		if off+length >= off {
			hi = min(hi, off+length)
		}
		if lo < hi {
			s.dropMatchingLocked(v.Start+(lo-v.Offset), v.Start+(hi-v.Offset), flags)
		}
	}
}

func (s *Space) checkAlive() error {
	if s.dead {
		return unix.EFAULT
	}
	return nil
}
