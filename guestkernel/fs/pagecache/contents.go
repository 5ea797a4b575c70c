// Package pagecache holds the contents of files in page frames, so that read, write and mmap see the same bytes.
//
// Locks: write serialises whoever changes the size or holds several pages at once (Linux's i_rwsem) and is held while user memory is
// copied; mu guards the fields, is a leaf, and is never held while user memory is copied. MapPage, which page faults call, takes only mu: a
// write whose source is a mapping of the same file cannot deadlock.
package pagecache

import (
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

const pageSize = vfs.PageSize

// MaxSize is the largest file size in bytes (MAX_LFS_FILESIZE).
const MaxSize = 1<<63 - pageSize

// denseLimit is the page index up to which frames are kept in a slice: 128 MiB of file.
const denseLimit = 1 << 15

var zeroPage [pageSize]byte

// Budget bounds the pages of a filesystem.
type Budget interface {
	// Charge takes n pages: ENOSPC when the filesystem is full.
	Charge(n int) error
	// Uncharge gives n pages back.
	Uncharge(n int)
}

// Contents are the bytes of one regular file.
type Contents struct {
	frames vfs.Frames
	budget Budget

	write sync.Mutex

	mu       sync.Mutex
	size     int64
	dense    []uint64          // frame of each page below denseLimit; 0: none
	sparse   map[uint64]uint64 // frames of the pages above
	count    int               // frames
	backing  []byte            // immutable bytes that pages without a frame show, from offset 0 on
	charged  int               // pages of the backing without a frame, which are charged for
	mappings map[vfs.Mapping]int
	stored   bool // a mapping may have been written to through the pages it was given
	denied   bool // no mapping is given pages to write to
}

// New answers empty contents.
func New(frames vfs.Frames, budget Budget) *Contents {
	return &Contents{frames: frames, budget: budget}
}

// NewBacked answers contents that show data until they are changed; data must never change. Pages are copied into frames only when they are
// written or mapped.
func NewBacked(frames vfs.Frames, budget Budget, data []byte) (*Contents, error) {
	pages := (len(data) + pageSize - 1) / pageSize
	if err := budget.Charge(pages); err != nil {
		return nil, err
	}
	return &Contents{frames: frames, budget: budget, size: int64(len(data)), backing: data, charged: pages}, nil
}

// Size is the size in bytes.
func (f *Contents) Size() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size
}

// Blocks is the allocated space in 512-byte blocks.
func (f *Contents) Blocks() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(f.count+f.charged) * (pageSize / 512)
}

// reserved marks, in the place of a frame's address, a page that fallocate made and nobody has written to yet: lseek takes it for a hole.
const reserved = 1

// entry answers the frame of page index with its mark, 0 when there is none.
func (f *Contents) entry(index uint64) uint64 {
	if index < uint64(len(f.dense)) {
		return f.dense[index]
	}
	return f.sparse[index]
}

// frame answers the frame of page index, 0 when there is none.
func (f *Contents) frame(index uint64) uint64 { return f.entry(index) &^ reserved }

func (f *Contents) setFrame(index, phys uint64) {
	if index >= denseLimit {
		if f.sparse == nil {
			f.sparse = make(map[uint64]uint64)
		}
		if phys == 0 {
			delete(f.sparse, index)
		} else {
			f.sparse[index] = phys
		}
		return
	}
	if n := uint64(len(f.dense)); index >= n {
		f.dense = append(f.dense, make([]uint64, index+1-n)...)
	}
	f.dense[index] = phys
}

// backed answers the immutable bytes of page index; nil for a hole.
func (f *Contents) backed(index uint64) []byte {
	start := index * pageSize
	if start >= uint64(len(f.backing)) {
		return nil
	}
	return f.backing[start:min(start+pageSize, uint64(len(f.backing)))]
}

// populate answers the frame of page index, making it if there is none.
func (f *Contents) populate(index uint64) (uint64, error) {
	if phys := f.entry(index); phys != 0 {
		if phys&reserved != 0 {
			phys &^= reserved
			f.setFrame(index, phys)
		}
		return phys, nil
	}
	data := f.backed(index)
	if data == nil {
		if err := f.budget.Charge(1); err != nil {
			return 0, err
		}
	}
	phys, err := f.frames.Alloc()
	if err != nil {
		if data == nil {
			f.budget.Uncharge(1)
		}
		return 0, err
	}
	if data != nil {
		copy(f.frames.Bytes(phys), data)
		f.charged-- // the charge goes over to the frame
	}
	f.setFrame(index, phys)
	f.count++
	return phys, nil
}

// hold answers page index with a reference, making it if there is none.
func (f *Contents) hold(index uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	phys, err := f.populate(index)
	if err == nil {
		f.frames.Ref(phys)
	}
	return phys, err
}

// Read copies to dst from off on and answers the number of bytes, which is short only at the end of the file.
func (f *Contents) Read(dst vfs.Buffer, off int64) (int, error) {
	done := 0
	for done < dst.Len() {
		f.mu.Lock()
		left := f.size - off
		if left <= 0 {
			f.mu.Unlock()
			break
		}
		index, at := uint64(off)/pageSize, int(off%pageSize)
		n := int(min(int64(dst.Len()-done), left, int64(pageSize-at)))
		phys := f.frame(index)
		var from []byte
		switch {
		case phys != 0:
			f.frames.Ref(phys)
			from = f.frames.Bytes(phys)[at : at+n]
		case uint64(off) < uint64(len(f.backing)):
			// The backing may stop within the page; what is behind it is a hole.
			end := min(off+int64(dst.Len()-done), f.size, int64(len(f.backing)))
			from = f.unframed(uint64(off), uint64(end))
		default:
			from = zeroPage[:n]
		}
		f.mu.Unlock()
		n, err := dst.CopyOut(done, from)
		if phys != 0 {
			f.frames.Unref(phys)
		}
		done += n
		off += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// unframed answers the longest run of backing from off to end that no frame replaces. The first page has no frame.
func (f *Contents) unframed(off, end uint64) []byte {
	stop := (off/pageSize + 1) * pageSize
	for stop < end && f.frame(stop/pageSize) == 0 {
		stop += pageSize
	}
	return f.backing[off:min(stop, end)]
}

// Write copies src to the file at *off, or at its end with atEnd, and moves *off behind it. limit is the first offset that may not be
// written (RLIMIT_FSIZE); writing from there on is EFBIG.
func (f *Contents) Write(src vfs.Buffer, off *int64, atEnd bool, limit uint64) (int, error) {
	f.write.Lock()
	defer f.write.Unlock()
	if atEnd {
		*off = f.Size()
	}
	total := src.Len()
	if total == 0 {
		return 0, nil
	}
	limit = min(limit, MaxSize)
	if uint64(*off) >= limit {
		return 0, unix.EFBIG
	}
	total = int(min(uint64(total), limit-uint64(*off)))
	done := 0
	for done < total {
		index, at := uint64(*off)/pageSize, int(*off%pageSize)
		phys, err := f.hold(index)
		if err != nil {
			return done, err
		}
		n, err := src.CopyIn(done, f.frames.Bytes(phys)[at:min(pageSize, at+total-done)])
		done += n
		*off += int64(n)
		f.mu.Lock()
		if *off > f.size {
			f.size = *off
		}
		f.mu.Unlock()
		f.frames.Unref(phys)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Truncate sets the size: pages behind it are freed and unmapped, the rest of the last page is zeroed.
func (f *Contents) Truncate(size int64) error {
	if size < 0 {
		return unix.EINVAL
	}
	if size > MaxSize {
		return unix.EFBIG
	}
	f.write.Lock()
	defer f.write.Unlock()
	f.mu.Lock()
	shrink := size < f.size
	f.size = size
	f.mu.Unlock()
	if shrink {
		f.drop(uint64(size), ^uint64(0))
	}
	return nil
}

// PunchHole makes [off, off+length) read as zeros and frees its whole pages; the size stays.
func (f *Contents) PunchHole(off, length int64) {
	f.write.Lock()
	defer f.write.Unlock()
	f.drop(uint64(off), uint64(off)+uint64(length))
}

// drop zeroes the bytes [start, end), giving up the frames of whole pages. write is held.
func (f *Contents) drop(start, end uint64) {
	first, last := (start+pageSize-1)/pageSize, end/pageSize // whole pages [first, last)
	var freed []uint64
	f.mu.Lock()
	if n := uint64(len(f.backing)); start < n {
		if end >= n {
			// The backing only gets shorter. Pages that lose all of it lose their charge.
			keep := (start + pageSize - 1) / pageSize
			for i := keep; i*pageSize < n; i++ {
				if f.frame(i) == 0 {
					f.charged--
					f.budget.Uncharge(1)
				}
			}
			f.backing = f.backing[:start]
		} else {
			// A hole within the backing: give every backed page behind its start a frame, or zeros would come back.
			for i := start / pageSize; i*pageSize < n; i++ {
				if _, err := f.populate(i); err != nil {
					// Out of memory: keep the data rather than fail half-way.
					f.mu.Unlock()
					return
				}
			}
			f.backing = f.backing[:start/pageSize*pageSize]
		}
	}
	zero := func(from, to uint64) {
		if from < to {
			if phys := f.frame(from / pageSize); phys != 0 {
				clear(f.frames.Bytes(phys)[from%pageSize : (to-1)%pageSize+1])
			}
		}
	}
	if start/pageSize == end/pageSize {
		zero(start, end)
	} else {
		zero(start, min(first*pageSize, end))
		if end%pageSize != 0 && end != ^uint64(0) {
			zero(last*pageSize, end)
		}
	}
	take := func(index uint64) {
		if phys := f.frame(index); phys != 0 {
			freed = append(freed, phys)
			f.setFrame(index, 0)
			f.count--
		}
	}
	for i := first; i < min(last, uint64(len(f.dense))); i++ {
		take(i)
	}
	if end == ^uint64(0) && first < uint64(len(f.dense)) {
		f.dense = f.dense[:first]
	}
	for i := range f.sparse {
		if i >= first && i < last {
			take(i)
		}
	}
	mappings := make([]vfs.Mapping, 0, len(f.mappings))
	for m := range f.mappings {
		mappings = append(mappings, m)
	}
	f.mu.Unlock()
	if first < last {
		for _, m := range mappings {
			m.Invalidate(f, first, last-first, end == ^uint64(0))
		}
	}
	for _, phys := range freed {
		f.frames.Unref(phys)
	}
	f.budget.Uncharge(len(freed))
}

// Allocate gives [off, off+length) frames, and with extend makes the file reach its end.
func (f *Contents) Allocate(off, length int64, extend bool) error {
	if off+length > MaxSize {
		return unix.EFBIG
	}
	f.write.Lock()
	defer f.write.Unlock()
	for i := uint64(off) / pageSize; i*pageSize < uint64(off+length); i++ {
		f.mu.Lock()
		// Allocating a page twice makes it data, as in Linux (SGP_FALLOC).
		hole := f.frame(i) == 0 && f.backed(i) == nil
		phys, err := f.populate(i)
		if err == nil && hole {
			f.setFrame(i, phys|reserved)
		}
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
	f.mu.Lock()
	if extend && off+length > f.size {
		f.size = off + length
	}
	f.mu.Unlock()
	return nil
}

// SeekData answers the first offset from off on that holds data (or, with hole, that is in a hole): ENXIO behind the end.
func (f *Contents) SeekData(off int64, hole bool) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off < 0 || off >= f.size {
		return 0, unix.ENXIO
	}
	for i := uint64(off) / pageSize; int64(i*pageSize) < f.size; {
		e := f.entry(i)
		data := e != 0 && e&reserved == 0 || e == 0 && f.backed(i) != nil
		if data != hole {
			return max(off, int64(i*pageSize)), nil
		}
		i++
		if !data && i >= uint64(len(f.dense)) && i*pageSize >= uint64(len(f.backing)) {
			// Jump over the hole to the next frame.
			next := ^uint64(0)
			for s := range f.sparse {
				if s >= i {
					next = min(next, s)
				}
			}
			if next == ^uint64(0) {
				break
			}
			i = next
		}
	}
	if hole {
		return f.size, nil
	}
	return 0, unix.ENXIO
}

// MapPage implements vfs.Mappable.
func (f *Contents) MapPage(index uint64, write bool) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if write && f.denied {
		return 0, vfs.ErrPastEnd
	}
	f.stored = f.stored || write
	if index >= MaxSize/pageSize || int64(index*pageSize) >= f.size {
		return 0, vfs.ErrPastEnd
	}
	phys, err := f.populate(index)
	if err == nil {
		f.frames.Ref(phys)
	}
	return phys, err
}

// Attach implements vfs.Mappable.
func (f *Contents) Attach(m vfs.Mapping) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mappings == nil {
		f.mappings = make(map[vfs.Mapping]int)
	}
	f.mappings[m]++
}

// Detach implements vfs.Mappable.
func (f *Contents) Detach(m vfs.Mapping) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mappings[m]--; f.mappings[m] == 0 {
		delete(f.mappings, m)
	}
	if len(f.mappings) == 0 {
		f.stored = false
	}
}

// DenyWrites keeps mappings from storing to the file from now on: EBUSY when one does already.
func (f *Contents) DenyWrites() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stored {
		return unix.EBUSY
	}
	f.denied = true
	return nil
}

// Free gives up everything: the file is gone.
func (f *Contents) Free() {
	f.write.Lock()
	defer f.write.Unlock()
	f.mu.Lock()
	f.size = 0
	f.mu.Unlock()
	f.drop(0, ^uint64(0))
}
