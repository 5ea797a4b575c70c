package pagetable_test

import (
	"encoding/binary"
	"math/rand"
	"testing"

	amd64 "ringo/arch/amd64/pagetable"
	arm64 "ringo/arch/arm64/pagetable"
	. "ringo/internal/pagetable"
)

// The reference: a map of 4 KiB pages.
type modelPage struct {
	pa   uint64
	prot Prot
}
type model map[uint64]modelPage

// TestAgainstModel does random operations on a table and on the model and compares every page.
func TestAgainstModel(t *testing.T) {
	onBoth(t, testModel[amd64.Format], testModel[arm64.Format])
}

func testModel[F Format](t *testing.T) {
	for seed := range int64(40) {
		r := rand.New(rand.NewSource(seed))
		tab, m := newTable[F](t)
		ref := model{}
		base := uint64(0x7f00_0000_0000) - 4*Size2M // crosses root entries below
		if seed%2 == 1 {
			base = kernelVA[F](kernelBase - 4*Size2M)
		}
		const window = 8 * Size2M
		for range 60 {
			va := base + uint64(r.Intn(window/Size4K))*Size4K
			size := uint64(1+r.Intn(5)) * Size4K
			if r.Intn(3) == 0 {
				va, size = va&^(Size2M-1), uint64(1+r.Intn(2))*Size2M
			}
			if va+size > base+window {
				continue
			}
			p := Prot(r.Intn(64))&^Device | Read
			if base >= UserEnd {
				p &^= User // table entries of the kernel half forbid it
			}
			switch r.Intn(4) {
			case 0, 1:
				pa := uint64(r.Intn(1<<20)) * Size4K
				if r.Intn(2) == 0 {
					pa &^= Size2M - 1
				}
				free := true
				for a := va; a < va+size; a += Size4K {
					if _, ok := ref[a]; ok {
						free = false
					}
				}
				err := tab.MapRange(va, pa, size, p, Size2M)
				if free != (err == nil) {
					t.Fatalf("seed %d: MapRange(%#x, %#x): %v, free = %v", seed, va, size, err, free)
				}
				for a := uint64(0); free && a < size; a += Size4K {
					ref[va+a] = modelPage{pa + a, p}
				}
			case 2:
				want := 0
				for a := va; a < va+size; a += Size4K {
					if _, ok := ref[a]; ok {
						want++
						delete(ref, a)
					}
				}
				got := 0
				if err := tab.Unmap(va, size, func(l Leaf) { got += int(l.Size / Size4K) }); err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Fatalf("seed %d: Unmap(%#x, %#x) reported %d pages, want %d", seed, va, size, got, want)
				}
			case 3:
				for a := va; a < va+size; a += Size4K {
					if page, ok := ref[a]; ok {
						ref[a] = modelPage{page.pa, p}
					}
				}
				if err := tab.Protect(va, size, p); err != nil {
					t.Fatal(err)
				}
			}
			compare(t, seed, tab, m, ref, base, window)
		}
		if err := tab.Unmap(base, window, nil); err != nil {
			t.Fatal(err)
		}
		if base < UserEnd && len(m.tables) != 1 {
			t.Errorf("seed %d: %d tables left, want the root only", seed, len(m.tables))
		}
	}
}

func compare[F Format](t *testing.T, seed int64, tab *Table[F], m *memory, ref model, base, window uint64) {
	t.Helper()
	seen := 0
	last := uint64(0)
	err := tab.Leaves(base, window, func(l Leaf) bool {
		if last != 0 && l.VA < last {
			t.Fatalf("seed %d: leaves out of order at %#x", seed, l.VA)
		}
		last = l.VA + l.Size
		for a := uint64(0); a < l.Size; a += Size4K {
			seen++
			if got := (modelPage{l.PA + a, l.Prot}); got != ref[l.VA+a] {
				t.Fatalf("seed %d: %#x is %+v, want %+v", seed, l.VA+a, got, ref[l.VA+a])
			}
		}
		return true
	})
	if err != nil || seen != len(ref) {
		t.Fatalf("seed %d: %d pages, want %d, err %v", seed, seen, len(ref), err)
	}
	for a := base; a < base+window; a += 37 * Size4K { // walks agree too, owner's and observer's
		page, mapped := ref[a]
		pa, p, _, ok := tab.Lookup(a + 5)
		if ok != mapped || mapped && (pa != page.pa+5 || p != page.prot) {
			t.Fatalf("seed %d: Lookup(%#x) = %#x %v %v, want %+v %v", seed, a, pa, p, ok, page, mapped)
		}
		if w := ReadWalk[F](tab.Root, a+5, m.read); w != tab.Walk(a+5) {
			t.Fatalf("seed %d: ReadWalk and Walk differ: %v / %v", seed, w, tab.Walk(a+5))
		}
	}
}

func (m *memory) read(gpa uint64) (uint64, bool) {
	t := m.tables[gpa&^(Size4K-1)]
	if t == nil {
		return 0, false
	}
	return t[gpa%Size4K/8], true
}

func TestWalkExplainsItself(t *testing.T) {
	onBoth(t, testWalk[amd64.Format], testWalk[arm64.Format])
}

func testWalk[F Format](t *testing.T) {
	tab, m := newTable[F](t)
	if err := tab.Map(0x1000, 0x9000, Size4K, User); err != nil {
		t.Fatal(err)
	}
	root := m.Table(tab.Root)
	root[1] = root[0]&0xfff | 0x7777_7000 // a table outside memory
	for _, c := range []struct {
		va     uint64
		result WalkResult
		steps  int
	}{
		{0x1fff, WalkMapped, 4},
		{0x2000, WalkNotPresent, 4},
		{0x4000_0000, WalkNotPresent, 2},
		{1 << 39, WalkUnreadable, 2},
		{1 << 50, WalkNonCanonical, 0},
	} {
		w := tab.Walk(c.va)
		if w.Result != c.result || w.N != c.steps {
			t.Errorf("Walk(%#x) = %v after %d steps, want %v after %d", c.va, w.Result, w.N, c.result, c.steps)
		}
		if w.String() == "" {
			t.Error("a walk without words")
		}
	}
}

// A tree whose root points at itself looks like 2^36 pages; the budget ends it.
func TestReadLeavesEndsOnASelfReference(t *testing.T) {
	var f amd64.Format
	table := [Entries]uint64{}
	for i := range table {
		table[i] = f.Table(0, true)
	}
	reads, visits := 0, 0
	complete := ReadLeaves[amd64.Format](0, 0, UserEnd-1, func(gpa uint64) (uint64, bool) {
		reads++
		return table[gpa%Size4K/8], gpa < Size4K
	}, 10000, func(Leaf) bool { visits++; return true })
	if complete || reads > 10000 || visits == 0 {
		t.Errorf("complete = %v after %d reads and %d pages", complete, reads, visits)
	}
}

func TestReadLeavesStopsWhenAsked(t *testing.T) {
	tab, m := newTable[arm64.Format](t)
	if err := tab.MapRange(0, 0, 16*Size4K, User, Size4K); err != nil {
		t.Fatal(err)
	}
	visits := 0
	complete := ReadLeaves[arm64.Format](tab.Root, 0, UserEnd-1, m.read, 1<<20, func(Leaf) bool { visits++; return visits < 3 })
	if !complete || visits != 3 {
		t.Errorf("complete = %v, %d visits, want true and 3", complete, visits)
	}
}

// FuzzHostileTree walks trees made of arbitrary bytes.
func FuzzHostileTree(f *testing.F) {
	f.Add([]byte{}, uint64(0), uint64(0))
	f.Add([]byte{0x03, 0, 0, 0, 0, 0, 0, 0}, uint64(0), uint64(0x1000))
	f.Add([]byte{0x83, 0x10, 0, 0, 0, 0, 0, 0x80, 0x27, 0, 0, 0, 0, 0, 0, 0}, uint64(0xfff), ^uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, root, va uint64) {
		fuzzWalk[amd64.Format](t, data, root, va)
		fuzzWalk[arm64.Format](t, data, root, va)
	})
}

func fuzzWalk[F Format](t *testing.T, data []byte, root, va uint64) {
	var f F
	reads := 0
	read := func(gpa uint64) (uint64, bool) {
		reads++
		if gpa > 1<<40 || len(data) < 8 {
			return 0, false
		}
		return binary.LittleEndian.Uint64(data[gpa/8*8%uint64(len(data)-7):]), true
	}
	w := ReadWalk[F](root, va, read)
	if reads > Levels || w.N > Levels || w.N != reads {
		t.Fatalf("%d reads, %d steps", reads, w.N)
	}
	if w.Result == WalkMapped && (w.PA >= f.MaxPhys() || w.Size == 0) {
		t.Fatalf("mapped at %#x, %d bytes", w.PA, w.Size)
	}
	_ = w.String()
	reads = 0
	ReadLeaves[F](root, va&^0xfff, va|0x3fff_ffff, read, 2000, func(l Leaf) bool {
		if l.PA+l.Size > f.MaxPhys() {
			t.Fatalf("leaf at %#x beyond the address space", l.PA)
		}
		return true
	})
	if reads > 2000 {
		t.Fatalf("%d reads on a budget of 2000", reads)
	}
}
