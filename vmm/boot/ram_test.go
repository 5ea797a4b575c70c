package boot

import (
	"errors"
	"fmt"

	"ringo/virtio/queue"
)

// ram is guest memory for tests, filled with a pattern that shows what was written.
type ram struct {
	base   uint64
	b      []byte
	lo, hi uint64 // what was written, counted from the base; lo == hi: nothing
}

const untouched = 0xa5

func newRAM(base uint64, size int) *ram {
	r := &ram{base: base, b: make([]byte, size)}
	r.b[0] = untouched
	for n := 1; n < size; n *= 2 {
		copy(r.b[n:], r.b[:n])
	}
	return r
}

var errNotRAM = errors.New("not RAM")

func (r *ram) Slice(gpa, size uint64, write bool, _ queue.Source) ([]byte, error) {
	if off := gpa - r.base; gpa >= r.base && off <= uint64(len(r.b)) && size <= uint64(len(r.b))-off {
		if write && size > 0 {
			if r.lo == r.hi {
				r.lo, r.hi = off, off+size
			}
			r.lo, r.hi = min(r.lo, off), max(r.hi, off+size)
		}
		return r.b[off : off+size : off+size], nil
	}
	return nil, fmt.Errorf("%w: %#x, %d bytes", errNotRAM, gpa, size)
}

func (r *ram) Check(gpa, size uint64) error {
	_, err := r.Slice(gpa, size, false, queue.Source{})
	return err
}

func (r *ram) WriteAt(gpa uint64, p []byte, _ queue.Source) error {
	b, err := r.Slice(gpa, uint64(len(p)), true, queue.Source{})
	copy(b, p)
	return err
}

// touched says whether anything in [from, to), counted from the base, lies between the first
// and the last byte that was written.
func (r *ram) touched(from, to uint64) bool { return r.lo < min(to, r.hi) && max(from, r.lo) < r.hi }

func (r *ram) Zero(gpa, size uint64, _ queue.Source) error {
	if size == 0 {
		return nil
	}
	b, err := r.Slice(gpa, size, true, queue.Source{})
	clear(b)
	return err
}
