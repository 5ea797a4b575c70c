package pagetable

import "fmt"

// WalkResult says how a walk ended.
type WalkResult uint8

// Results of a walk.
const (
	WalkMapped       WalkResult = iota // reached a page
	WalkNotPresent                     // the last step's entry is not present
	WalkReserved                       // the last step's entry has an encoding the architecture reserves
	WalkUnreadable                     // the last step's table is outside memory
	WalkNonCanonical                   // the address cannot be translated
)

// String is the result in words.
func (r WalkResult) String() string {
	switch r {
	case WalkMapped:
		return "mapped"
	case WalkNotPresent:
		return "not present"
	case WalkReserved:
		return "reserved encoding"
	case WalkUnreadable:
		return "table outside memory"
	case WalkNonCanonical:
		return "address not canonical"
	}
	return "unknown"
}

// Step is one level of a walk.
type Step struct {
	Level   int    // 3 is the root
	EntryAt uint64 // GPA of the entry
	Entry   uint64 // 0 when unreadable
}

// Walk is the way from a root to an address.
type Walk struct {
	VA     uint64
	Steps  [Levels]Step
	N      int // steps taken
	Result WalkResult

	// With WalkMapped: the physical address of the byte at VA, the effective protection of all
	// levels together, and the page's size.
	PA   uint64
	Prot Prot
	Size uint64
}

// String is the walk on one line, for crash reports.
func (w Walk) String() string {
	s := fmt.Sprintf("%#x:", w.VA)
	for _, step := range w.Steps[:min(max(w.N, 0), Levels)] {
		s += fmt.Sprintf(" L%d[%#x]=%#x", step.Level, step.EntryAt, step.Entry)
	}
	if w.Result == WalkMapped {
		return s + fmt.Sprintf(" -> %#x %v (%d KiB page)", w.PA, w.Prot, w.Size>>10)
	}
	return s + " -> " + w.Result.String()
}

// ReadFunc reads the 8-byte little-endian entry at gpa; false when that is not memory.
type ReadFunc func(gpa uint64) (entry uint64, ok bool)

// ReadWalk translates va through somebody else's tree. It takes at most Levels reads and
// returns for any content.
func ReadWalk[F Format](rootGPA, va uint64, read ReadFunc) Walk {
	var s walkState[F]
	s.start(rootGPA, va)
	for {
		gpa, more := s.next()
		if !more {
			return s.w
		}
		s.feed(read(gpa))
	}
}

// walkState is a walk as a state machine, so that owner and observer share it.
type walkState[F Format] struct {
	w     Walk
	table uint64
	prot  Prot
	level int
	done  bool
}

func (s *walkState[F]) start(rootGPA, va uint64) {
	var f F
	s.w.VA = va
	s.table = rootGPA
	s.level = root
	s.prot = ^Prot(0)
	if !f.Canonical(va) {
		s.w.Result = WalkNonCanonical
		s.done = true
	}
}

func (s *walkState[F]) next() (gpa uint64, more bool) {
	return s.table + uint64(Index(s.w.VA, s.level))*8, !s.done
}

func (s *walkState[F]) feed(entry uint64, ok bool) {
	var f F
	gpa, _ := s.next()
	s.w.Steps[s.w.N] = Step{Level: s.level, EntryAt: gpa, Entry: entry}
	s.w.N++
	s.done = true
	if !ok {
		s.w.Result = WalkUnreadable
		return
	}
	switch f.Kind(entry, s.level) {
	case KindNone:
		s.w.Result = WalkNotPresent
	case KindLeaf:
		s.w.Result = WalkMapped
		s.w.Size = PageSize(s.level)
		s.w.PA = f.Addr(entry, s.level) | s.w.VA&(s.w.Size-1)
		s.w.Prot = f.LeafProt(entry, s.level) & s.prot
	case KindTable:
		s.table = f.Addr(entry, s.level)
		s.prot = f.Restrict(s.prot, entry)
		s.level--
		s.done = false
	default:
		s.w.Result = WalkReserved
	}
}

// ReadLeaves visits every page of somebody else's tree that intersects the addresses va to
// last (inclusive), in ascending order, until visit answers false or budget entries have been
// read. It answers false when the budget ended it: a hostile tree can point back at itself and
// pretend 2^36 pages. Unreadable and reserved entries are skipped.
func ReadLeaves[F Format](rootGPA, va, last uint64, read ReadFunc, budget int, visit func(Leaf) bool) (complete bool) {
	var f F
	if last < va || !f.Canonical(va) || !f.Canonical(last) || isUser(va) != isUser(last) {
		return true
	}
	s := leafReader[F]{read: read, visit: visit, budget: budget}
	s.level(rootGPA, root, va, last, ^Prot(0))
	return s.budget >= 0
}

type leafReader[F Format] struct {
	read    ReadFunc
	visit   func(Leaf) bool
	budget  int
	stopped bool
}

func (r *leafReader[F]) level(table uint64, level int, va, last uint64, prot Prot) {
	var f F
	size := PageSize(level)
	for {
		if r.budget--; r.budget < 0 || r.stopped {
			return
		}
		end := min(va|(size-1), last)
		entry, ok := r.read(table + uint64(Index(va, level))*8)
		if ok {
			switch f.Kind(entry, level) {
			case KindLeaf:
				l := leaf[F](va&^(size-1), entry, level)
				l.Prot &= prot
				if !r.visit(l) {
					r.stopped = true
					return
				}
			case KindTable:
				r.level(f.Addr(entry, level), level-1, va, end, f.Restrict(prot, entry))
			}
		}
		if end == last {
			return
		}
		va = end + 1
	}
}
