package pagetable_test

import (
	"fmt"
	"testing"

	amd64 "ringo/arch/amd64/pagetable"
	arm64 "ringo/arch/arm64/pagetable"
	. "ringo/internal/pagetable"
)

// memory is page-table memory in the test's heap. A freed table is poisoned, so that a
// dangling link shows.
type memory struct {
	tables map[uint64]*[Entries]uint64
	next   uint64
	limit  int
}

func newMemory() *memory {
	return &memory{tables: map[uint64]*[Entries]uint64{}, next: 0x10_0000, limit: 1 << 20}
}

func (m *memory) Table(gpa uint64) *[Entries]uint64 { return m.tables[gpa] }

func (m *memory) AllocTable() (uint64, bool) {
	if len(m.tables) >= m.limit {
		return 0, false
	}
	gpa := m.next
	m.next += Size4K
	m.tables[gpa] = new([Entries]uint64)
	return gpa, true
}

func (m *memory) FreeTable(gpa uint64) {
	t := m.tables[gpa]
	if t == nil {
		panic(fmt.Sprintf("table %#x freed twice", gpa))
	}
	for i := range t {
		if t[i] != 0 {
			panic(fmt.Sprintf("table %#x freed with entry %d = %#x", gpa, i, t[i]))
		}
		t[i] = 0xdead_dead_dead_dead
	}
	delete(m.tables, gpa)
}

func newTable[F Format](t *testing.T) (*Table[F], *memory) {
	t.Helper()
	m := newMemory()
	root, ok := m.AllocTable()
	if !ok {
		t.Fatal("no root table")
	}
	return &Table[F]{Root: root, Mem: m}, m
}

// onBoth runs a test for both formats.
func onBoth(t *testing.T, onAMD64, onARM64 func(*testing.T)) {
	t.Run("amd64", onAMD64)
	t.Run("arm64", onARM64)
}

const kernelBase = 0x8880_0000_0000 // bits 47 to 0 of an address in the kernel half

func kernelVA[F Format](low uint64) uint64 {
	var f F
	if f.Canonical(low) {
		return low
	}
	return low | 0xffff<<48
}

func TestProtectionSurvivesTheEncoding(t *testing.T) {
	onBoth(t, testProt[amd64.Format], testProt[arm64.Format])
}

func testProt[F Format](t *testing.T) {
	var f F
	for bits := Prot(0); bits < 1<<6; bits++ {
		for level := range 3 {
			want := bits | Read
			if bits&Device != 0 {
				want &^= Exec
			}
			pa := uint64(0x4000_0000)
			e := f.Leaf(pa, level, bits)
			if k := f.Kind(e, level); k != KindLeaf {
				t.Fatalf("Leaf(%v, level %d) = %#x has kind %d", bits, level, e, k)
			}
			if got := f.LeafProt(e, level); got != want {
				t.Errorf("level %d: %v decodes as %v, want %v (entry %#x)", level, bits, got, want, e)
			}
			if got := f.Addr(e, level); got != pa {
				t.Errorf("level %d: address %#x, want %#x", level, got, pa)
			}
		}
	}
	for _, user := range []bool{false, true} {
		e := f.Table(0x5000, user)
		for level := 1; level <= 3; level++ {
			if f.Kind(e, level) != KindTable || f.Addr(e, level) != 0x5000 {
				t.Errorf("table entry %#x at level %d: kind %d address %#x", e, level, f.Kind(e, level), f.Addr(e, level))
			}
		}
	}
}

// The bits themselves, from the manuals, so that encoder and decoder cannot be wrong together.
func TestEncodings(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uint64
	}{
		{"amd64 user rwx 4K", amd64.Format{}.Leaf(0x1000, 0, Write|Exec|User), 0x1007},
		{"amd64 user r 4K", amd64.Format{}.Leaf(0x1000, 0, User), 0x8000_0000_0000_1005},
		{"amd64 kernel rw global 2M", amd64.Format{}.Leaf(0x20_0000, 1, Write|Global), 0x8000_0000_0020_01e3},
		{"amd64 device", amd64.Format{}.Leaf(0xd000_0000, 0, Write|Device), 0x8000_0000_d000_007b},
		{"amd64 user table", amd64.Format{}.Table(0x3000, true), 0x3027},
		{"arm64 user rwx 4K", arm64.Format{}.Leaf(0x1000, 0, Write|Exec|User), 1<<53 | 0x1000 | 0xf43},
		{"arm64 user r 4K", arm64.Format{}.Leaf(0x1000, 0, User), 3<<53 | 0x1000 | 0xfc3},
		{"arm64 kernel rwx global 2M", arm64.Format{}.Leaf(0x20_0000, 1, Write|Exec|Global), 1<<54 | 0x20_0000 | 0x701},
		{"arm64 device", arm64.Format{}.Leaf(0x900_0000, 0, Write|Device|Global), 3<<53 | 0x900_0000 | 0x707},
		{"arm64 table", arm64.Format{}.Table(0x3000, true), 0x3003},
	} {
		if c.got != c.want {
			t.Errorf("%s = %#x, want %#x", c.name, c.got, c.want)
		}
	}
}

func TestReservedEncodingsAreBad(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Kind
	}{
		{"amd64 page-size bit in the root", amd64.Format{}.Kind(0x83, 3)},
		{"amd64 2M page with a 4K address", amd64.Format{}.Kind(0x2083, 1)},
		{"arm64 block in the root", arm64.Format{}.Kind(0x401, 3)},
		{"arm64 level 0 without bit 1", arm64.Format{}.Kind(0x401, 0)},
		{"arm64 2M block with a 4K address", arm64.Format{}.Kind(0x1401, 1)},
	} {
		if c.kind != KindBad {
			t.Errorf("%s: kind %d, want KindBad", c.name, c.kind)
		}
	}
}

func TestMapRefuses(t *testing.T) {
	onBoth(t, testMapRefuses[amd64.Format], testMapRefuses[arm64.Format])
}

func testMapRefuses[F Format](t *testing.T) {
	tab, _ := newTable[F](t)
	if err := tab.Map(Size2M, 0, Size2M, User); err != nil {
		t.Fatal(err)
	}
	if err := tab.Map(Size1G, 0, Size4K, User); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		va, pa, size uint64
		want         error
	}{
		{"odd size", 0, 0, 8192, ErrSize},
		{"unaligned va", 1, 0, Size4K, ErrUnaligned},
		{"unaligned pa", 0, 0x1000, Size2M, ErrUnaligned},
		{"hole", 0x1_0000_0000_0000, 0, Size4K, ErrAddress},
		{"large pa", 0, 1 << 52, Size4K, ErrAddress},
		{"the same page", Size2M, 0, Size2M, ErrMapped},
		{"inside a large page", Size2M + Size4K, 0, Size4K, ErrMapped},
		{"over a table", Size1G, 0, Size2M, ErrMapped},
	} {
		if err := tab.Map(c.va, c.pa, c.size, User); err != c.want {
			t.Errorf("%s: err = %v, want %v", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name     string
		va, size uint64
		want     error
	}{
		{"unaligned", 0x800, Size4K, ErrUnaligned},
		{"across the halves", UserEnd - Size4K, 2 * Size4K, ErrAddress},
		{"wrapping", ^uint64(0) &^ 0xfff, 2 * Size4K, ErrAddress},
	} {
		if err := tab.Unmap(c.va, c.size, nil); err != c.want {
			t.Errorf("Unmap %s: err = %v, want %v", c.name, err, c.want)
		}
	}
}

func TestMapRangeUsesLargePages(t *testing.T) {
	onBoth(t, testLargePages[amd64.Format], testLargePages[arm64.Format])
}

func testLargePages[F Format](t *testing.T) {
	tab, m := newTable[F](t)
	va := kernelVA[F](kernelBase)
	const size = 3*Size1G + 5*Size2M + 7*Size4K
	if err := tab.MapRange(va, 0, size, Write|Global, Size1G); err != nil {
		t.Fatal(err)
	}
	count := map[uint64]int{}
	if err := tab.Leaves(va, size, func(l Leaf) bool { count[l.Size]++; return true }); err != nil {
		t.Fatal(err)
	}
	if count[Size1G] != 3 || count[Size2M] != 5 || count[Size4K] != 7 {
		t.Errorf("pages by size = %v, want 3, 5 and 7", count)
	}
	if n := len(m.tables); n != 4 {
		t.Errorf("%d tables, want 4", n)
	}
	// An empty table in the way forces smaller pages rather than failure.
	if err := tab.Unmap(va+3*Size1G, 5*Size2M+7*Size4K, nil); err != nil {
		t.Fatal(err)
	}
	if err := tab.MapRange(va+3*Size1G, 3*Size1G, Size1G, Write, Size1G); err != nil {
		t.Fatalf("MapRange over an empty kernel table: %v", err)
	}
	if pa, _, psize, ok := tab.Lookup(va + 3*Size1G + 0x1234567); !ok || pa != 3*Size1G+0x1234567 || psize != Size2M {
		t.Errorf("Lookup = %#x, %#x, %v", pa, psize, ok)
	}
}

func TestMapRangeRollsBack(t *testing.T) {
	tab, _ := newTable[amd64.Format](t)
	if err := tab.Map(5*Size4K, 0, Size4K, User); err != nil {
		t.Fatal(err)
	}
	if err := tab.MapRange(0, 0, Size2M, User, Size4K); err != ErrMapped {
		t.Fatalf("err = %v, want ErrMapped", err)
	}
	for va := uint64(0); va < Size2M; va += Size4K {
		if _, _, _, ok := tab.Lookup(va); ok != (va == 5*Size4K) {
			t.Errorf("%#x mapped = %v", va, ok)
		}
	}
}

func TestOutOfTables(t *testing.T) {
	onBoth(t, testOutOfTables[amd64.Format], testOutOfTables[arm64.Format])
}

func testOutOfTables[F Format](t *testing.T) {
	tab, m := newTable[F](t)
	m.limit = 3
	if err := tab.Map(0, 0, Size2M, User); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Map":     tab.Map(Size2M, 0, Size4K, User),
		"Unmap":   tab.Unmap(0, Size4K, nil),
		"Protect": tab.Protect(0, Size4K, User),
	} {
		if err != ErrNoMemory {
			t.Errorf("%s: err = %v, want ErrNoMemory", name, err)
		}
	}
	if pa, _, size, ok := tab.Lookup(0x1000); !ok || pa != 0x1000 || size != Size2M {
		t.Error("the large page did not survive the failed split")
	}
}

func TestSplitBreaksBeforeMake(t *testing.T) {
	tab, _ := newTable[arm64.Format](t)
	if err := tab.Map(Size2M, Size2M, Size2M, User|Write); err != nil {
		t.Fatal(err)
	}
	calls := 0
	tab.Invalidate = func(va, size uint64) {
		calls++
		if va != Size2M || size != Size2M {
			t.Errorf("Invalidate(%#x, %#x)", va, size)
		}
		if _, _, _, ok := tab.Lookup(va); ok {
			t.Error("entry was not cleared before the invalidation")
		}
	}
	if err := tab.Protect(Size2M+Size4K, Size4K, User); err != nil {
		t.Fatal(err)
	}
	if calls != 1 {
		t.Errorf("%d invalidations, want 1", calls)
	}
}

// Accessed and dirty, which the hardware sets, survive a split and a change of protection.
func TestHardwareStateIsKept(t *testing.T) {
	tab, m := newTable[amd64.Format](t)
	if err := tab.Map(0, Size2M, Size2M, User|Write); err != nil {
		t.Fatal(err)
	}
	l, ok := tab.Leaf(0)
	if !ok || l.Accessed || l.Dirty {
		t.Fatalf("fresh user page: %+v", l)
	}
	step := tab.Walk(0)
	last := step.Steps[step.N-1].EntryAt
	m.tables[last&^0xfff][last%Size4K/8] |= amd64.AccessedBit | amd64.DirtyBit
	if err := tab.Protect(0x3000, Size4K, User); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := tab.Unmap(0, Size2M, func(l Leaf) {
		n++
		if !l.Accessed || !l.Dirty {
			t.Errorf("page %#x lost its state: %+v", l.VA, l)
		}
		if want := User | Read; l.VA == 0x3000 && l.Prot != want {
			t.Errorf("page %#x has %v, want %v", l.VA, l.Prot, want)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if n != Entries {
		t.Errorf("%d pages, want %d", n, Entries)
	}
}

func TestKernelHalfIsShared(t *testing.T) {
	onBoth(t, testKernelHalf[amd64.Format], testKernelHalf[arm64.Format])
}

func testKernelHalf[F Format](t *testing.T) {
	tab, m := newTable[F](t)
	if err := tab.FillKernelHalf(); err != nil {
		t.Fatal(err)
	}
	gpa, _ := m.AllocTable()
	CopyKernelHalf(m.Table(gpa), m.Table(tab.Root))
	user := &Table[F]{Root: gpa, Mem: m}
	va := kernelVA[F](kernelBase)
	if err := tab.Map(va, 0x7000, Size4K, Write|Global); err != nil {
		t.Fatal(err)
	}
	if pa, _, _, ok := user.Lookup(va + 8); !ok || pa != 0x7008 {
		t.Errorf("later kernel mapping in the user root: %#x, %v", pa, ok)
	}
	tables := len(m.tables)
	if err := tab.Unmap(va, Size4K, nil); err != nil {
		t.Fatal(err)
	}
	if len(m.tables) != tables {
		t.Error("a table of the shared half was freed")
	}
	if err := user.Unmap(0, UserEnd, nil); err != nil {
		t.Errorf("Unmap of an empty user half: %v", err)
	}
}

// bump is page-table memory that does not use Go's heap once it exists, like the nucleus's.
type bump struct {
	tables [16][Entries]uint64
	free   []uint64
}

func (b *bump) Table(gpa uint64) *[Entries]uint64 {
	if i := gpa / Size4K; i < uint64(len(b.tables)) {
		return &b.tables[i]
	}
	return nil
}

func (b *bump) AllocTable() (uint64, bool) {
	if len(b.free) == 0 {
		return 0, false
	}
	gpa := b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	return gpa, true
}

func (b *bump) FreeTable(gpa uint64) { b.free = append(b.free, gpa) }

// The nucleus runs this below the Go runtime: nothing may allocate.
func TestNothingAllocates(t *testing.T) {
	onBoth(t, testNoAllocation[amd64.Format], testNoAllocation[arm64.Format])
}

func testNoAllocation[F Format](t *testing.T) {
	b := &bump{}
	for i := range uint64(len(b.tables)) {
		b.free = append(b.free, i*Size4K)
	}
	root, _ := b.AllocTable()
	tab := &Table[F]{Root: root, Mem: b}
	pages := 0
	count := func(Leaf) { pages++ }
	if n := testing.AllocsPerRun(20, func() {
		if err := tab.MapRange(Size1G, 0, Size2M+3*Size4K, User|Write, Size2M); err != nil {
			t.Error(err)
		}
		if err := tab.Map(Size1G, 0, Size4K, User); err != ErrMapped {
			t.Error(err)
		}
		if err := tab.Protect(Size1G+Size4K, Size4K, User); err != nil {
			t.Error(err)
		}
		if w := tab.Walk(Size1G + Size4K); w.Result != WalkMapped {
			t.Error(w.Result)
		}
		if err := tab.Unmap(0, UserEnd, count); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
	if pages == 0 || len(b.free) != len(b.tables)-1 {
		t.Errorf("%d pages, %d tables free", pages, len(b.free))
	}
}
