package pagetable

import "sync/atomic"

// Table is a tree of page tables that the caller owns.
//
// It never touches a TLB. After Unmap and Protect the caller invalidates the range on all CPUs;
// after Map it makes the stores visible to the table walkers (DSB ISHST on arm64, nothing on amd64).
type Table[F Format] struct {
	Root uint64 // GPA of the root table
	Mem  Memory

	// Invalidate, if set, is called when a large page in use is replaced by a table of smaller
	// ones: the entry is cleared, Invalidate(va, size) removes it from all TLBs, then the table
	// is linked (Arm ARM D8.16 "break-before-make"). Unset: link at once, which amd64 allows.
	Invalidate func(va, size uint64)
}

// Map maps one page of size 4 KiB, 2 MiB or 1 GiB. It fails with ErrMapped where anything,
// even an empty lower table, is in the way.
func (t *Table[F]) Map(va, pa, size uint64, p Prot) error {
	var f F
	level := levelOf(size)
	switch {
	case level < 0:
		return ErrSize
	case (va|pa)&(size-1) != 0:
		return ErrUnaligned
	case !f.Canonical(va) || pa >= f.MaxPhys():
		return ErrAddress
	}
	table := t.Mem.Table(t.Root)
	if table == nil {
		return ErrCorrupt
	}
	for l := root; l > level; l-- {
		slot := &table[Index(va, l)]
		entry := atomic.LoadUint64(slot)
		switch f.Kind(entry, l) {
		case KindNone:
			gpa, ok := t.Mem.AllocTable()
			if !ok {
				return ErrNoMemory
			}
			if table = t.Mem.Table(gpa); table == nil {
				return ErrCorrupt
			}
			atomic.StoreUint64(slot, f.Table(gpa, isUser(va)))
		case KindTable:
			if table = t.Mem.Table(f.Addr(entry, l)); table == nil {
				return ErrCorrupt
			}
		case KindLeaf:
			return ErrMapped
		default:
			return ErrCorrupt
		}
	}
	slot := &table[Index(va, level)]
	if f.Kind(atomic.LoadUint64(slot), level) != KindNone {
		return ErrMapped
	}
	atomic.StoreUint64(slot, f.Leaf(pa, level, p))
	return nil
}

// MapRange maps [va, va+size) to [pa, pa+size) with the largest pages that alignment and
// largest (one of the page sizes) allow. On failure what it had mapped is unmapped again.
func (t *Table[F]) MapRange(va, pa, size uint64, p Prot, largest uint64) error {
	level := levelOf(largest)
	if level < 0 {
		return ErrSize
	}
	if size == 0 {
		return nil
	}
	if (va|pa|size)&(Size4K-1) != 0 {
		return ErrUnaligned
	}
	if err := t.checkRange(va, size); err != nil {
		return err
	}
	for done := uint64(0); done < size; {
		l := level
		for l > 0 && (((va+done)|(pa+done))&(PageSize(l)-1) != 0 || size-done < PageSize(l)) {
			l--
		}
		err := t.Map(va+done, pa+done, PageSize(l), p)
		for err == ErrMapped && l > 0 { // a table of smaller pages is there already
			l--
			err = t.Map(va+done, pa+done, PageSize(l), p)
		}
		if err != nil {
			if done > 0 {
				t.Unmap(va, done, nil)
			}
			return err
		}
		done += PageSize(l)
	}
	return nil
}

// Unmap removes everything in [va, va+size) and reports each page to visit (which may be nil)
// with its final accessed and dirty state. A large page partly in the range is split first,
// which may fail with ErrNoMemory. Tables of the user half that become empty go to FreeTable.
func (t *Table[F]) Unmap(va, size uint64, visit func(Leaf)) error {
	return t.change(va, size, change{unmap: true, visit: visit})
}

// Protect gives every page mapped in [va, va+size) the protection p, splitting large pages
// that are partly in the range. Unmapped addresses are skipped.
func (t *Table[F]) Protect(va, size uint64, p Prot) error {
	return t.change(va, size, change{prot: p})
}

type change struct {
	unmap bool // else protect
	prot  Prot
	visit func(Leaf)
}

func (t *Table[F]) change(va, size uint64, c change) error {
	if size == 0 {
		return nil
	}
	if err := t.checkRange(va, size); err != nil {
		return err
	}
	return t.changeLevel(t.Root, root, va, va+size-1, &c)
}

func (t *Table[F]) changeLevel(gpa uint64, level int, va, last uint64, c *change) error {
	var f F
	table := t.Mem.Table(gpa)
	if table == nil {
		return ErrCorrupt
	}
	size := PageSize(level)
	for {
		end := min(va|(size-1), last)
		slot := &table[Index(va, level)]
		entry := atomic.LoadUint64(slot)
		kind := f.Kind(entry, level)
		if kind == KindLeaf && (va&(size-1) != 0 || end != va|(size-1)) {
			if err := t.split(slot, level, va&^(size-1)); err != nil {
				return err
			}
			entry = atomic.LoadUint64(slot)
			kind = KindTable
		}
		switch kind {
		case KindNone:
		case KindLeaf:
			if c.unmap {
				old := atomic.SwapUint64(slot, 0)
				if c.visit != nil {
					c.visit(leaf[F](va, old, level))
				}
				break
			}
			pa := f.Addr(entry, level)
			for { // the hardware may set state bits meanwhile
				changed := f.Leaf(pa, level, c.prot)&^f.StateMask() | entry&f.StateMask()
				if atomic.CompareAndSwapUint64(slot, entry, changed) {
					break
				}
				entry = atomic.LoadUint64(slot)
			}
		case KindTable:
			child := f.Addr(entry, level)
			if err := t.changeLevel(child, level-1, va, end, c); err != nil {
				return err
			}
			if c.unmap && isUser(va) && empty(t.Mem.Table(child)) {
				atomic.StoreUint64(slot, 0)
				t.Mem.FreeTable(child)
			}
		default:
			return ErrCorrupt
		}
		if end == last {
			return nil
		}
		va = end + 1
	}
}

// split replaces the large page in slot, mapped at va, by a table of the next smaller size.
func (t *Table[F]) split(slot *uint64, level int, va uint64) error {
	var f F
	gpa, ok := t.Mem.AllocTable()
	if !ok {
		return ErrNoMemory
	}
	table := t.Mem.Table(gpa)
	if table == nil {
		return ErrCorrupt
	}
	old := atomic.LoadUint64(slot)
	if t.Invalidate != nil {
		old = atomic.SwapUint64(slot, 0)
		t.Invalidate(va, PageSize(level))
	}
	for {
		pa, p := f.Addr(old, level), f.LeafProt(old, level)
		for i := range table {
			table[i] = f.Leaf(pa+uint64(i)*PageSize(level-1), level-1, p) | old&f.StateMask()
		}
		link := f.Table(gpa, isUser(va))
		if t.Invalidate != nil {
			atomic.StoreUint64(slot, link)
			return nil
		}
		if atomic.CompareAndSwapUint64(slot, old, link) {
			return nil
		}
		old = atomic.LoadUint64(slot)
	}
}

// Lookup translates va: the physical address of exactly that byte, and the protection and
// size of the page that holds it.
func (t *Table[F]) Lookup(va uint64) (pa uint64, p Prot, size uint64, ok bool) {
	w := t.Walk(va)
	return w.PA, w.Prot, w.Size, w.Result == WalkMapped
}

// Leaf is the page that holds va.
func (t *Table[F]) Leaf(va uint64) (Leaf, bool) {
	w := t.Walk(va)
	if w.Result != WalkMapped {
		return Leaf{}, false
	}
	s := w.Steps[w.N-1]
	l := leaf[F](va&^(w.Size-1), s.Entry, s.Level)
	l.Prot = w.Prot
	return l, true
}

// Walk records the entry at each level on the way to va.
func (t *Table[F]) Walk(va uint64) Walk {
	// Not ReadWalk with a closure: a closure over t could reach the heap.
	var s walkState[F]
	s.start(t.Root, va)
	for {
		gpa, more := s.next()
		if !more {
			return s.w
		}
		table := t.Mem.Table(gpa &^ (Size4K - 1))
		if table == nil {
			s.feed(0, false)
			continue
		}
		s.feed(atomic.LoadUint64(&table[gpa%Size4K/8]), true)
	}
}

// Leaves calls visit for every page that intersects [va, va+size) in ascending order, until
// visit answers false.
func (t *Table[F]) Leaves(va, size uint64, visit func(Leaf) bool) error {
	if size == 0 {
		return nil
	}
	if err := t.checkRange(va, size); err != nil {
		return err
	}
	_, err := t.leavesLevel(t.Root, root, va, va+size-1, visit)
	return err
}

func (t *Table[F]) leavesLevel(gpa uint64, level int, va, last uint64, visit func(Leaf) bool) (more bool, err error) {
	var f F
	table := t.Mem.Table(gpa)
	if table == nil {
		return false, ErrCorrupt
	}
	size := PageSize(level)
	for {
		end := min(va|(size-1), last)
		entry := atomic.LoadUint64(&table[Index(va, level)])
		switch f.Kind(entry, level) {
		case KindNone:
		case KindLeaf:
			if !visit(leaf[F](va&^(size-1), entry, level)) {
				return false, nil
			}
		case KindTable:
			if more, err := t.leavesLevel(f.Addr(entry, level), level-1, va, end, visit); err != nil || !more {
				return false, err
			}
		default:
			return false, ErrCorrupt
		}
		if end == last {
			return true, nil
		}
		va = end + 1
	}
}

// FillKernelHalf gives every empty root entry of the kernel half its own table, so that later
// kernel mappings show in all roots that CopyKernelHalf made before.
func (t *Table[F]) FillKernelHalf() error {
	var f F
	table := t.Mem.Table(t.Root)
	if table == nil {
		return ErrCorrupt
	}
	for i := Entries / 2; i < Entries; i++ {
		if f.Kind(table[i], root) != KindNone {
			continue
		}
		gpa, ok := t.Mem.AllocTable()
		if !ok {
			return ErrNoMemory
		}
		atomic.StoreUint64(&table[i], f.Table(gpa, false))
	}
	return nil
}

// CopyKernelHalf makes dst share src's kernel half.
func CopyKernelHalf(dst, src *[Entries]uint64) {
	for i := Entries / 2; i < Entries; i++ {
		atomic.StoreUint64(&dst[i], atomic.LoadUint64(&src[i]))
	}
}

// checkRange accepts a page-aligned, canonical range that stays in one half.
func (t *Table[F]) checkRange(va, size uint64) error {
	var f F
	last := va + size - 1
	switch {
	case (va|size)&(Size4K-1) != 0:
		return ErrUnaligned
	case last < va || !f.Canonical(va) || !f.Canonical(last) || isUser(va) != isUser(last):
		return ErrAddress
	}
	return nil
}

func leaf[F Format](va, entry uint64, level int) Leaf {
	var f F
	return Leaf{
		VA: va, PA: f.Addr(entry, level), Size: PageSize(level), Prot: f.LeafProt(entry, level),
		Accessed: f.Accessed(entry), Dirty: f.Dirty(entry), Entry: entry,
	}
}

func isUser(va uint64) bool { return va < UserEnd }

func empty(table *[Entries]uint64) bool {
	if table == nil {
		return false
	}
	for i := range table {
		if table[i] != 0 {
			return false
		}
	}
	return true
}

func levelOf(size uint64) int {
	switch size {
	case Size4K:
		return 0
	case Size2M:
		return 1
	case Size1G:
		return 2
	}
	return -1
}
