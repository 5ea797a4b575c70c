package pagecache

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
)

// budget counts pages and refuses more than limit.
type budget struct {
	mu          sync.Mutex
	used, limit int
}

func (b *budget) Charge(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit {
		return unix.ENOSPC
	}
	b.used += n
	return nil
}

func (b *budget) Uncharge(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// mapping is an address space that maps a whole file: it holds the frames that it was given until it is told to drop them.
type mapping struct {
	frames vfs.Frames
	pages  map[uint64]uint64
}

func (m *mapping) Invalidate(_ vfs.Mappable, first, count uint64, _ bool) {
	for index, phys := range m.pages {
		if index >= first && index-first < count {
			m.frames.Unref(phys)
			delete(m.pages, index)
		}
	}
}

// TestLikeModel runs random operations on contents and on a plain slice. Backed contents, holes, mappings and sizes within and across pages
// are mixed; at the end every frame and charge is back.
func TestLikeModel(t *testing.T) {
	for seed := range 300 {
		r := rand.New(rand.NewPCG(uint64(seed), 11))
		frames := vfs.NewHeapFrames(1000)
		limit := &budget{limit: 1000}
		var model []byte
		f := New(frames, limit)
		var backing, before []byte
		if seed%2 == 0 {
			backing = make([]byte, r.IntN(5*pageSize))
			for i := range backing {
				backing[i] = byte(r.Uint32())
			}
			before = bytes.Clone(backing)
			model = bytes.Clone(backing)
			var err error
			if f, err = NewBacked(frames, limit, backing); err != nil {
				t.Fatal(err)
			}
		}
		m := &mapping{frames: frames, pages: make(map[uint64]uint64)}
		f.Attach(m)
		for step := range 60 {
			off := int64(r.IntN(6 * pageSize))
			if r.IntN(3) == 0 {
				off = off / pageSize * pageSize
			}
			n := int64(1 + r.IntN(2*pageSize))
			switch r.IntN(7) {
			case 0, 1:
				data := make([]byte, n)
				for i := range data {
					data[i] = byte(r.Uint32())
				}
				pos := off
				got, err := f.Write(vfs.Bytes(data), &pos, false, vfs.RlimInfinity)
				if err != nil || int64(got) != n || pos != off+n {
					t.Fatalf("seed %d step %d: write %d at %d: %d, %v, position %d", seed, step, n, off, got, err, pos)
				}
				if grow := off + n - int64(len(model)); grow > 0 {
					model = append(model, make([]byte, grow)...)
				}
				copy(model[off:], data)
			case 2:
				if err := f.Truncate(off); err != nil {
					t.Fatal(err)
				}
				if off <= int64(len(model)) {
					model = model[:off:off]
				} else {
					model = append(model, make([]byte, off-int64(len(model)))...)
				}
			case 3:
				f.PunchHole(off, n)
				if off < int64(len(model)) {
					clear(model[off:min(off+n, int64(len(model)))])
				}
			case 4:
				index := uint64(off) / pageSize
				phys, err := f.MapPage(index, r.IntN(2) == 0)
				if int64(index*pageSize) >= int64(len(model)) {
					if err != vfs.ErrPastEnd {
						t.Fatalf("seed %d step %d: page %d of %d bytes: %v, want ErrPastEnd", seed, step, index, len(model), err)
					}
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if old, ok := m.pages[index]; ok {
					if old != phys {
						t.Fatalf("seed %d step %d: page %d is frame %#x, was mapped as %#x", seed, step, index, phys, old)
					}
					frames.Unref(phys)
				}
				m.pages[index] = phys
			case 5: // store through a mapping
				for index, phys := range m.pages {
					at := index * pageSize
					b := byte(r.Uint32())
					if at < uint64(len(model)) {
						frames.Bytes(phys)[0] = b
						model[at] = b
					}
					break
				}
			case 6:
				if err := f.Allocate(off, n, true); err != nil {
					t.Fatal(err)
				}
				if grow := off + n - int64(len(model)); grow > 0 {
					model = append(model, make([]byte, grow)...)
				}
			}
			if f.Size() != int64(len(model)) {
				t.Fatalf("seed %d step %d: size %d, want %d", seed, step, f.Size(), len(model))
			}
			got := make([]byte, len(model)+100)
			k, err := f.Read(vfs.Bytes(got), 0)
			if err != nil || k != len(model) || !bytes.Equal(got[:k], model) {
				t.Fatalf("seed %d step %d: contents differ (%d bytes, %v), want %d", seed, step, k, err, len(model))
			}
		}
		if !bytes.Equal(backing, before) {
			t.Fatalf("seed %d: the backing was written to", seed)
		}
		f.Free()
		if len(m.pages) != 0 {
			t.Fatalf("seed %d: %d pages still mapped of a file that is gone", seed, len(m.pages))
		}
		f.Detach(m)
		if frames.InUse() != 0 || limit.used != 0 {
			t.Fatalf("seed %d: %d frames and %d charges left", seed, frames.InUse(), limit.used)
		}
	}
}

func TestFaultsAndLimits(t *testing.T) {
	frames := vfs.NewHeapFrames(3)
	f := New(frames, &budget{limit: 100})
	pos := int64(0)
	n, err := f.Write(vfstest.Faulty{Bytes: make(vfs.Bytes, 10000), Good: 5000}, &pos, false, vfs.RlimInfinity)
	if n != 5000 || err != unix.EFAULT || f.Size() != 5000 {
		t.Errorf("write from memory that ends at 5000: %d, %v, size %d", n, err, f.Size())
	}
	n, err = f.Read(vfstest.Faulty{Bytes: make(vfs.Bytes, 10000), Good: 100}, 0)
	if n != 100 || err != unix.EFAULT {
		t.Errorf("read to memory that ends at 100: %d, %v", n, err)
	}
	pos = 0
	n, err = f.Write(make(vfs.Bytes, 100000), &pos, false, vfs.RlimInfinity)
	if n != 3*pageSize || err != unix.ENOMEM {
		t.Errorf("write to 3 frames: %d, %v", n, err)
	}
	pos = 10
	if n, err = f.Write(make(vfs.Bytes, 100), &pos, false, 50); n != 40 || err != nil {
		t.Errorf("write up to a limit of 50: %d, %v", n, err)
	}
	if n, err = f.Write(make(vfs.Bytes, 100), &pos, false, 50); n != 0 || err != unix.EFBIG {
		t.Errorf("write at the limit: %d, %v", n, err)
	}
	pos = MaxSize
	if _, err = f.Write(make(vfs.Bytes, 1), &pos, false, vfs.RlimInfinity); err != unix.EFBIG {
		t.Errorf("write at the largest size: %v", err)
	}
	f.Free()
	if frames.InUse() != 0 {
		t.Errorf("%d frames left", frames.InUse())
	}
	small := New(vfs.NewHeapFrames(10), &budget{limit: 1})
	pos = 0
	if n, err = small.Write(make(vfs.Bytes, 5000), &pos, false, vfs.RlimInfinity); n != pageSize || err != unix.ENOSPC {
		t.Errorf("write to a full filesystem: %d, %v", n, err)
	}
}

// TestSparse keeps files with pages very far apart small and fast.
func TestSparse(t *testing.T) {
	frames := vfs.NewHeapFrames(10)
	f := New(frames, &budget{limit: 100})
	for _, at := range []int64{0, 1 << 40, 1 << 60} {
		pos := at
		if _, err := f.Write(vfs.Bytes("x"), &pos, false, vfs.RlimInfinity); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := f.SeekData(1, false); got != 1 || err != nil {
		t.Errorf("data from 1 on: %d, %v", got, err)
	}
	if got, err := f.SeekData(pageSize, false); got != 1<<40 || err != nil {
		t.Errorf("data behind the first page: %#x, %v", got, err)
	}
	if got, err := f.SeekData(1<<40+5, true); got != 1<<40+pageSize || err != nil {
		t.Errorf("hole behind 1<<40: %#x, %v", got, err)
	}
	if f.Blocks() != 3*8 {
		t.Errorf("%d blocks, want 24", f.Blocks())
	}
	f.Free()
}

// TestConcurrent has writers, truncation and page faults race; run with -race. Readers are left out: that they see a write half done is as it
// should be, and what the detector would report.
func TestConcurrent(t *testing.T) {
	frames := vfs.NewHeapFrames(1000)
	limit := &budget{limit: 1000}
	f := New(frames, limit)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 5))
			for range 2000 {
				pos := int64(r.IntN(8 * pageSize))
				switch r.IntN(4) {
				case 0:
					f.Write(make(vfs.Bytes, r.IntN(9000)), &pos, r.IntN(10) == 0 && f.Size() < 1<<20, 1<<20)
				case 1:
					f.SeekData(pos, r.IntN(2) == 0)
				case 2:
					f.Truncate(pos)
				case 3:
					if phys, err := f.MapPage(uint64(pos)/pageSize, true); err == nil {
						frames.Unref(phys)
					}
				}
			}
		})
	}
	wg.Wait()
	f.Free()
	if frames.InUse() != 0 || limit.used != 0 {
		t.Errorf("%d frames and %d charges left", frames.InUse(), limit.used)
	}
}
