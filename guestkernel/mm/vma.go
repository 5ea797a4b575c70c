package mm

import (
	"fmt"
	"sort"
)

// VMAFlags are properties of a mapping beside its protection.
type VMAFlags uint16

// VMA flags.
const (
	VMAShared     VMAFlags = 1 << iota // MAP_SHARED
	VMAGrowsDown                       // a stack
	VMADontFork                        // madvise(MADV_DONTFORK)
	VMAWipeOnFork                      // madvise(MADV_WIPEONFORK)
	VMALocked                          // mlock
	VMAHeap                            // [heap], for /proc/PID/maps
	VMAStack                           // [stack]
	VMAReadOnly                        // shared mapping of a file that was not opened for writing: mprotect(PROT_WRITE) is EACCES
)

// VMA is one mapping: a page-aligned range with one protection and one backing.
type VMA struct {
	Start, End uint64
	Prot       Prot
	Flags      VMAFlags
	Object     Object // nil: private anonymous memory
	Offset     uint64 // of Start in Object, page aligned
	Name       string // path of the mapped file, for /proc/PID/maps
}

// Len is the VMA's size in bytes.
func (v *VMA) Len() uint64 { return v.End - v.Start }

func (v *VMA) String() string {
	return fmt.Sprintf("%x-%x prot %d flags %#x off %#x %s", v.Start, v.End, v.Prot, v.Flags, v.Offset, v.Name)
}

func (v *VMA) offsetOf(va uint64) uint64 { return v.Offset + (va - v.Start) }

// joins says whether w, which begins where v ends, continues v.
func (v *VMA) joins(w *VMA) bool {
	return v.End == w.Start && v.Prot == w.Prot && v.Flags == w.Flags && v.Object == w.Object && v.Name == w.Name &&
		(v.Object == nil || v.Offset+v.Len() == w.Offset)
}

// vmaSet is sorted by address and disjoint.
type vmaSet []*VMA

// at returns the index of the first VMA that ends behind va.
func (s vmaSet) at(va uint64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].End > va })
}

// find returns the VMA that contains va, or nil.
func (s vmaSet) find(va uint64) *VMA {
	if i := s.at(va); i < len(s) && s[i].Start <= va {
		return s[i]
	}
	return nil
}

// free says whether no VMA touches [start, end).
func (s vmaSet) free(start, end uint64) bool {
	i := s.at(start)
	return i == len(s) || s[i].Start >= end
}

// insertVMA adds v, which overlaps nothing, and joins it with its neighbours.
func (s *Space) insertVMA(v *VMA) {
	i := s.vmas.at(v.Start)
	s.vmas = append(s.vmas, nil)
	copy(s.vmas[i+1:], s.vmas[i:])
	s.vmas[i] = v
	s.joinVMA(i + 1)
	s.joinVMA(i)
}

// joinVMA merges element i into its predecessor when they are one mapping.
func (s *Space) joinVMA(i int) {
	if i <= 0 || i >= len(s.vmas) {
		return
	}
	prev, v := s.vmas[i-1], s.vmas[i]
	if !prev.joins(v) {
		return
	}
	prev.End = v.End
	if v.Object != nil {
		s.gone = append(s.gone, v.Object)
	}
	s.vmas = append(s.vmas[:i], s.vmas[i+1:]...)
}

// splitVMA makes va a boundary between VMAs.
func (s *Space) splitVMA(va uint64) {
	i := s.vmas.at(va)
	if i == len(s.vmas) || s.vmas[i].Start >= va {
		return
	}
	low := s.vmas[i]
	high := *low
	high.Start = va
	if high.Object != nil {
		high.Offset = low.offsetOf(va)
		high.Object.Attach(s)
	}
	low.End = va
	s.vmas = append(s.vmas, nil)
	copy(s.vmas[i+2:], s.vmas[i+1:])
	s.vmas[i+1] = &high
}

// carve splits at both ends and returns the index range of the VMAs inside [start, end).
func (s *Space) carve(start, end uint64) (lo, hi int) {
	s.splitVMA(start)
	s.splitVMA(end)
	return s.vmas.at(start), s.vmas.firstFrom(end)
}

// firstFrom returns the index of the first VMA that starts at or behind va.
func (s vmaSet) firstFrom(va uint64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].Start >= va })
}

// covered says whether VMAs cover [start, end) without a hole.
func (s vmaSet) covered(start, end uint64) bool {
	for i := s.at(start); i < len(s); i++ {
		if s[i].Start > start {
			return false
		}
		if start = s[i].End; start >= end {
			return true
		}
	}
	return start >= end
}

// removeVMAs takes out [start, end); page entries are the caller's business.
func (s *Space) removeVMAs(start, end uint64) {
	lo, hi := s.carve(start, end)
	for _, v := range s.vmas[lo:hi] {
		if v.Object != nil {
			s.gone = append(s.gone, v.Object)
		}
	}
	s.vmas = append(s.vmas[:lo], s.vmas[hi:]...)
}

// joinAround re-joins the VMAs whose boundaries lie in [start, end].
func (s *Space) joinAround(start, end uint64) {
	for i := s.vmas.firstFrom(end); i > 0 && s.vmas[i-1].End >= start; i-- {
		s.joinVMA(i)
	}
}
