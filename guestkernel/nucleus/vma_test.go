package nucleus

import (
	"math/rand/v2"
	"testing"
)

const (
	regionBase  = 0x10000
	regionPages = 200
)

func newVMAs() *vmaSet {
	return &vmaSet{base: regionBase, limit: regionBase + regionPages*pageSize}
}

// checkVMAs: sorted, disjoint, not empty, neighbours merged, and page for page what want says.
func checkVMAs(t *testing.T, s *vmaSet, want []byte) {
	t.Helper()
	for i := range s.n {
		v := s.v[i]
		if v.start >= v.end || i > 0 && s.v[i-1].end > v.start {
			t.Fatalf("vma %d %#x-%#x is empty or out of order", i, v.start, v.end)
		}
		if i > 0 && s.v[i-1].end == v.start && s.v[i-1].accessible == v.accessible {
			t.Fatalf("vmas %d and %d should be one", i-1, i)
		}
	}
	for p, w := range want {
		v, ok := s.find(regionBase + uint64(p)*pageSize + 123)
		got := byte(0)
		if ok {
			got = 1
			if v.accessible {
				got = 2
			}
		}
		if got != w {
			t.Fatalf("page %d is %d, want %d", p, got, w)
		}
	}
}

func TestVMAsAgreeWithAnArray(t *testing.T) {
	s := newVMAs()
	want := make([]byte, regionPages)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		from := rng.IntN(regionPages)
		to := from + 1 + rng.IntN(regionPages-from)
		start, end := regionBase+uint64(from)*pageSize, regionBase+uint64(to)*pageSize
		kind := byte(rng.IntN(3))
		if kind == 0 {
			s.clear(start, end)
		} else {
			s.set(start, end, kind == 2)
		}
		for p := from; p < to; p++ {
			want[p] = kind
		}
		checkVMAs(t, s, want)
		covered := true
		for _, k := range want[from:to] {
			covered = covered && k == 2
		}
		if s.covers(start, end) != covered {
			t.Fatalf("covers(%#x, %#x) is %v", start, end, !covered)
		}
	}
}

func TestPlaceFindsRoomOrSaysNo(t *testing.T) {
	s := newVMAs()
	s.set(regionBase, regionBase+10*pageSize, true)
	s.set(regionBase+20*pageSize, regionBase+30*pageSize, false)
	tests := []struct {
		name              string
		hint, size, align uint64
		want              uint64 // page, 0: none
	}{
		{"first gap", 0, 10 * pageSize, pageSize, 10},
		{"gap too small", 0, 11 * pageSize, pageSize, 30},
		{"free hint", regionBase + 50*pageSize, pageSize, pageSize, 50},
		{"taken hint", regionBase + 5*pageSize, pageSize, pageSize, 10},
		{"hint that runs into a vma", regionBase + 15*pageSize, 9 * pageSize, pageSize, 10},
		{"aligned", 0, pageSize, 16 * pageSize, 16},
		{"too large", 0, 171 * pageSize, pageSize, 0},
		{"exactly the rest", 0, 170 * pageSize, pageSize, 30},
		{"absurd size", regionBase + 50*pageSize, 1 << 63, pageSize, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr, ok := s.place(tt.hint, tt.size, tt.align)
			if !ok {
				if tt.want != 0 {
					t.Errorf("no room, want page %d", tt.want)
				}
				return
			}
			// Alignment is of the address; regionBase itself is 16 pages.
			if got := (addr - regionBase) / pageSize; got != tt.want {
				t.Errorf("page %d, want %d", got, tt.want)
			}
		})
	}
}

func TestVMAsFull(t *testing.T) {
	s := &vmaSet{base: 0, limit: 1 << 40}
	n := 0
	for ; s.set(uint64(2*n)*pageSize, uint64(2*n+1)*pageSize, true); n++ {
		if n > maxVMAs {
			t.Fatal("the array never fills up")
		}
	}
	if s.n > maxVMAs || n < maxVMAs-2 {
		t.Errorf("%d vmas of %d after %d calls", s.n, maxVMAs, n)
	}
}

func TestInside(t *testing.T) {
	s := newVMAs()
	for _, tt := range []struct {
		start, end uint64
		want       bool
	}{
		{s.base, s.limit, true}, {s.base, s.base, false}, {s.base - 1, s.limit, false},
		{s.base, s.limit + 1, false}, {s.limit, s.base, false}, {^uint64(0), s.base, false},
	} {
		if got := s.inside(tt.start, tt.end); got != tt.want {
			t.Errorf("inside(%#x, %#x) = %v", tt.start, tt.end, got)
		}
	}
}
