package nucleus

// maxVMAs bounds the number of kernel mappings. The runtime's neighbours merge, so it needs few.
const maxVMAs = 1024

// vma is a run of the kernel heap region with one protection. Reserved (not accessible)
// memory is a vma that demand paging refuses.
type vma struct {
	start, end uint64
	accessible bool
}

// vmaSet is the address space of the Go runtime: sorted, disjoint, neighbours of the same
// kind merged. The nucleus lock guards it.
type vmaSet struct {
	base, limit uint64
	n           int
	v           [maxVMAs]vma
}

// search is the index of the first vma that ends after addr.
func (s *vmaSet) search(addr uint64) int {
	lo, hi := 0, s.n
	for lo < hi {
		mid := (lo + hi) / 2
		if s.v[mid].end <= addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// find is the vma that holds addr.
func (s *vmaSet) find(addr uint64) (v vma, ok bool) {
	i := s.search(addr)
	if i == s.n || s.v[i].start > addr {
		return vma{}, false
	}
	return s.v[i], true
}

// covers says whether every byte of [start, end) may be accessed.
func (s *vmaSet) covers(start, end uint64) bool {
	for start < end {
		v, ok := s.find(start)
		if !ok || !v.accessible {
			return false
		}
		start = v.end
	}
	return true
}

// place finds a free range: at hint if it is free there, else the first one that is aligned.
func (s *vmaSet) place(hint, size, align uint64) (addr uint64, ok bool) {
	if hint >= s.base && hint < s.limit && size <= s.limit-hint {
		if i := s.search(hint); i == s.n || s.v[i].start >= hint+size {
			return hint, true
		}
	}
	addr = s.base
	for i := 0; ; i++ {
		addr = (addr + align - 1) &^ (align - 1)
		if addr >= s.limit || size > s.limit-addr {
			return 0, false
		}
		if i == s.n || addr+size <= s.v[i].start {
			return addr, true
		}
		addr = max(addr, s.v[i].end)
	}
}

// inside says whether [start, end) is a non-empty range of the region.
func (s *vmaSet) inside(start, end uint64) bool {
	return start >= s.base && start < end && end <= s.limit
}

// set makes [start, end) one vma, whatever was there. ok is false, and nothing changed, when
// the array is full.
func (s *vmaSet) set(start, end uint64, accessible bool) bool {
	if s.n+2 > maxVMAs {
		return false
	}
	s.clear(start, end)
	i := s.search(start)
	// Merge with the neighbours.
	left := i > 0 && s.v[i-1].end == start && s.v[i-1].accessible == accessible
	right := i < s.n && s.v[i].start == end && s.v[i].accessible == accessible
	switch {
	case left && right:
		s.v[i-1].end = s.v[i].end
		s.removeAt(i)
	case left:
		s.v[i-1].end = end
	case right:
		s.v[i].start = start
	default:
		s.insertAt(i, vma{start, end, accessible})
	}
	return true
}

// clear removes [start, end), splitting what is partly inside. ok is false, and nothing
// changed, when a split does not fit.
func (s *vmaSet) clear(start, end uint64) bool {
	i := s.search(start)
	if i < s.n && s.v[i].start < start {
		old := s.v[i]
		if old.end > end {
			if s.n == maxVMAs {
				return false
			}
			s.v[i].end = start
			s.insertAt(i+1, vma{end, old.end, old.accessible})
			return true
		}
		s.v[i].end = start
		i++
	}
	for i < s.n && s.v[i].end <= end {
		s.removeAt(i)
	}
	if i < s.n && s.v[i].start < end {
		s.v[i].start = end
	}
	return true
}

func (s *vmaSet) insertAt(i int, v vma) {
	copy(s.v[i+1:s.n+1], s.v[i:s.n])
	s.v[i] = v
	s.n++
}

func (s *vmaSet) removeAt(i int) {
	copy(s.v[i:s.n-1], s.v[i+1:s.n])
	s.n--
}
