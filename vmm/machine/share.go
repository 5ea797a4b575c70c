package machine

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// sharing is the RAM that shows pages of a file in place of the memfd's, until somebody writes.
//
// It exists for hosts that are emulated themselves: there, code that lies in other physical pages at each
// boot has to be translated anew at each boot, which took longer than everything else in one. The
// page cache keeps a file's pages where they are. On any host it saves a copy.
type sharing struct {
	on     atomic.Bool // some RAM is shared
	ever   atomic.Bool // some RAM was shared at some time
	mu     sync.Mutex
	ranges []Range
}

// Share makes size bytes of RAM at gpa show the bytes of f at offset, without copying them: as
// if they had been written there. All three numbers are multiples of the page size. The file must
// not change while the machine lives; its descriptor may be closed. The first write to any such range, by
// the guest or through Memory, gives all of them pages of their own.
func (m *Memory) Share(gpa, size uint64, f *os.File, offset int64) error {
	if (gpa|size|uint64(offset))%pageSize != 0 {
		return fmt.Errorf("share GPA %#x, %#x bytes, with a file at %#x: not whole pages", gpa, size, offset)
	}
	if _, err := m.bytes(gpa, size); err != nil || size == 0 {
		return err
	}
	s := &m.sharing
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ever.Store(true)
	s.on.Store(true)
	s.ranges = append(s.ranges, Range{gpa, size})
	return m.slotOf(gpa).mapOver(gpa, size, int(f.Fd()), offset, unix.PROT_READ, unix.MAP_PRIVATE)
}

// own gives all shared RAM pages of its own with the same contents. Views are replaced one page
// table entry after the other while others read them, who see the same bytes before and after.
func (m *Memory) own() error {
	s := &m.sharing
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ranges) > 0 {
		r := s.ranges[0]
		slot := m.slotOf(r.Base)
		offset := slot.offset + int64(r.Base-slot.Base)
		for b, at := slot.view[r.Base-slot.Base:][:r.Size], offset; len(b) > 0; {
			n, err := unix.Pwrite(m.fd, b, at)
			if err != nil {
				return fmt.Errorf("copy shared RAM at %#x: %w", r.Base, err)
			}
			b, at = b[n:], at+int64(n)
		}
		if err := slot.mapOver(r.Base, r.Size, m.fd, offset, unix.PROT_READ|unix.PROT_WRITE, mapFlags); err != nil {
			return err
		}
		s.ranges = s.ranges[1:]
	}
	s.on.Store(false)
	return nil
}

// ownFor is own if any of the range, which is about to be written, is shared.
func (m *Memory) ownFor(gpa, size uint64) error {
	s := &m.sharing
	if !s.on.Load() {
		return nil
	}
	s.mu.Lock()
	overlap := false
	for _, r := range s.ranges {
		overlap = overlap || gpa < r.Base+r.Size && r.Base < gpa+size
	}
	s.mu.Unlock()
	if !overlap {
		return nil
	}
	return m.own()
}
