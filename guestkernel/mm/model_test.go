package mm

import (
	"math/rand/v2"
	"testing"
)

// model is an address space as simple as can be: an array of pages.
type model struct{ page [modelPages]modelPage }

type modelPage struct {
	mapped bool
	prot   Prot
	file   int  // -1: anonymous
	index  int  // page of the file
	shared bool // changes go to the file
	own    bool // private copy exists
	data   byte // first byte of the private copy
}

const (
	modelPages = 24
	modelFiles = 2
	filePages  = 8
)

// world is a family of spaces with their models, over shared files.
type world struct {
	t      *testing.T
	h      *fakeHardware
	m      *Memory
	files  [modelFiles]*fakeFile
	bytes  [modelFiles][filePages]byte
	spaces []*Space
	models []*model
}

func addrOf(i int) uint64 { return base + uint64(i)*PageSize }

// TestRandomOperationsAgreeWithAModel runs random operations on fork trees of spaces and on the model, and
// compares every byte that can be read and every access that is allowed.
func TestRandomOperationsAgreeWithAModel(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		h, m, s := testSpace(t)
		w := &world{t: t, h: h, m: m, spaces: []*Space{s}, models: []*model{{}}}
		for i := range w.files {
			w.files[i] = newFile(h, byte(0x10*(i+1)), filePages)
			for j := range filePages {
				w.bytes[i][j] = byte(0x10*(i+1) + j)
			}
		}
		for step := range 120 {
			i := r.IntN(len(w.spaces))
			w.step(r, i)
			w.spaces[i%len(w.spaces)].check(t)
			if t.Failed() {
				t.Fatalf("seed %d step %d", seed, step)
			}
			if step%10 == 0 {
				w.compare(seed, step)
			}
		}
		w.compare(seed, -1)
		for _, s := range w.spaces {
			s.Release()
		}
		for i, f := range w.files {
			if f.users != 0 {
				t.Errorf("seed %d: file %d has %d mappings left", seed, i, f.users)
			}
			f.free()
		}
		drained(t, h, m)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (w *world) step(r *rand.Rand, i int) {
	s, md := w.spaces[i], w.models[i]
	first := r.IntN(modelPages)
	n := 1 + r.IntN(modelPages-first)
	if r.IntN(2) == 0 {
		n = min(n, 3)
	}
	prot := [...]Prot{0, Read, Read | Write, Read | Write, Read | Write | Exec}[r.IntN(5)]
	switch op := r.IntN(12); op {
	case 0, 1: // map
		p := modelPage{mapped: true, prot: prot, file: -1}
		req := Request{Addr: addrOf(first), Len: uint64(n) * PageSize, Prot: prot, Fixed: true}
		off := 0
		if r.IntN(2) == 0 {
			p.file, p.shared = r.IntN(modelFiles), r.IntN(2) == 0
			off = r.IntN(filePages)
			n = min(n, filePages-off)
			req.Len, req.Object, req.Offset = uint64(n)*PageSize, w.files[p.file], uint64(off)*PageSize
			if p.shared {
				req.Flags |= VMAShared
			}
		}
		if _, err := s.Map(req); err != nil {
			w.t.Errorf("map: %v", err)
		}
		for k := range n {
			p.index = off + k
			md.page[first+k] = p
		}
	case 2: // unmap
		if err := s.Unmap(addrOf(first), uint64(n)*PageSize); err != nil {
			w.t.Errorf("unmap: %v", err)
		}
		for k := range n {
			md.page[first+k] = modelPage{}
		}
	case 3, 4: // protect, up to the first hole
		s.Protect(addrOf(first), uint64(n)*PageSize, prot)
		for k := 0; k < n && md.page[first+k].mapped; k++ {
			md.page[first+k].prot = prot
		}
	case 5: // drop
		s.Advise(addrOf(first), uint64(n)*PageSize, 4 /* MADV_DONTNEED */)
		for k := range n {
			md.page[first+k].own = false
		}
	case 6: // fork
		if len(w.spaces) < 6 {
			c, err := s.Fork()
			if err != nil {
				w.t.Errorf("fork: %v", err)
				return
			}
			cm := *md
			w.spaces, w.models = append(w.spaces, c), append(w.models, &cm)
		}
	case 7: // exit
		if len(w.spaces) > 1 && r.IntN(2) == 0 {
			s.Release()
			w.spaces = append(w.spaces[:i:i], w.spaces[i+1:]...)
			w.models = append(w.models[:i:i], w.models[i+1:]...)
		}
	case 8: // move
		to := r.IntN(modelPages - n + 1)
		if to < first+n && first < to+n {
			return
		}
		v := md.page[first]
		for k := range n {
			p := md.page[first+k]
			if !p.mapped || p.prot != v.prot || p.file != v.file || p.shared != v.shared || p.file >= 0 && p.index != v.index+k {
				return // not one mapping
			}
		}
		if _, err := s.Remap(addrOf(first), uint64(n)*PageSize, uint64(n)*PageSize, true, true, false, addrOf(to)); err != nil {
			w.t.Errorf("remap: %v", err)
		}
		for k := range n {
			md.page[to+k] = md.page[first+k]
			md.page[first+k] = modelPage{}
		}
	default: // touch as the CPU or as the kernel
		p := &md.page[first]
		v := byte(r.Uint32())
		allowed := p.mapped && p.prot&Write != 0
		var ok bool
		if op%2 == 0 {
			b, f := s.access(w.t, addrOf(first), Write)
			if ok = f == nil; ok {
				b[0] = v
			}
		} else {
			_, err := s.CopyOut(addrOf(first), []byte{v})
			ok = err == nil
		}
		if ok != allowed {
			w.t.Errorf("write to page %d allowed %v, want %v (%+v)", first, ok, allowed, *p)
		}
		if !ok {
			return
		}
		if p.file >= 0 && p.shared {
			w.bytes[p.file][p.index] = v
		} else {
			p.own, p.data = true, v
		}
	}
}

// compare reads every page of every space.
func (w *world) compare(seed, step int) {
	for i, s := range w.spaces {
		for k := range modelPages {
			p := w.models[i].page[k]
			var b [1]byte
			_, err := s.CopyIn(addrOf(k), b[:])
			if readable := p.mapped && p.prot != 0; readable != (err == nil) {
				w.t.Fatalf("seed %d step %d space %d page %d: readable %v, err %v", seed, step, i, k, readable, err)
			} else if !readable {
				continue
			}
			want := byte(0)
			switch {
			case p.own:
				want = p.data
			case p.file >= 0:
				want = w.bytes[p.file][p.index]
			}
			if b[0] != want {
				w.t.Fatalf("seed %d step %d space %d page %d: byte %#x, want %#x (%+v)", seed, step, i, k, b[0], want, p)
			}
			if hw, f := s.access(w.t, addrOf(k), Read); f != nil || hw[0] != want {
				w.t.Fatalf("seed %d step %d space %d page %d: CPU reads %v, fault %v", seed, step, i, k, hw, f)
			}
		}
	}
}
