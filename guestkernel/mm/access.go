package mm

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// pageLocked makes the page of addr accessible and returns the rest of it, from addr on. A page
// that is in the page table may be read by the program (mprotect(PROT_NONE) takes it out), so
// only the others need their VMA looked at.
func (s *Space) pageLocked(addr uint64, access Prot) ([]byte, error) {
	va := pageDown(addr)
	e := s.pages.get(va)
	if e == 0 || e&pteMapped == 0 || access&Write != 0 && e&pteWritable == 0 {
		v, f := s.accessibleLocked(addr, access)
		if f == nil {
			e, f = s.faultLocked(v, va, access)
		}
		if f != nil {
			return nil, unix.EFAULT
		}
	}
	return s.mem.hw.Bytes(e.phys())[addr-va:], nil
}

// presentLocked answers n bytes at addr when they lie in one page that the page table has with the given flags: most small structures do, and
// nothing has to be prepared or given up for them.
func (s *Space) presentLocked(addr uint64, n int, flags pte) []byte {
	va := pageDown(addr)
	if e := s.pages.get(va); e&flags == flags && addr-va+uint64(n) <= PageSize {
		return s.mem.hw.Bytes(e.phys())[addr-va:][:n]
	}
	return nil
}

// each walks the pages of [addr, addr+n) until fn has seen them all, and returns how many bytes were reached.
func (s *Space) each(addr uint64, n int, access Prot, fn func(page []byte, done int)) (int, error) {
	s.mu.Lock()
	defer s.unlock()
	done := 0
	for done < n {
		page, err := s.pageLocked(addr+uint64(done), access)
		if err != nil {
			return done, err
		}
		if len(page) > n-done {
			page = page[:n-done]
		}
		fn(page, done)
		done += len(page)
	}
	return done, nil
}

// CopyIn copies user memory at addr to dst and returns how many bytes could be read; EFAULT if not all. dst does not escape: small
// structures stay on the caller's stack.
func (s *Space) CopyIn(addr uint64, dst []byte) (int, error) {
	s.mu.Lock()
	if b := s.presentLocked(addr, len(dst), pteMapped); b != nil {
		copy(dst, b)
		s.mu.Unlock()
		return len(dst), nil
	}
	defer s.unlock()
	done := 0
	for done < len(dst) {
		page, err := s.pageLocked(addr+uint64(done), Read)
		if err != nil {
			return done, err
		}
		done += copy(dst[done:], page)
	}
	return done, nil
}

// Load64 reads a 64-bit word. The error is EFAULT.
func (s *Space) Load64(addr uint64) (uint64, error) {
	s.mu.Lock()
	if b := s.presentLocked(addr, 8, pteMapped); b != nil {
		v := binary.LittleEndian.Uint64(b)
		s.mu.Unlock()
		return v, nil
	}
	s.mu.Unlock()
	var b [8]byte
	_, err := s.CopyIn(addr, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// CopyOut copies src to user memory at addr and returns how many bytes could be written; EFAULT if not all. src does not escape.
func (s *Space) CopyOut(addr uint64, src []byte) (int, error) {
	s.mu.Lock()
	if b := s.presentLocked(addr, len(src), pteMapped|pteWritable); b != nil {
		copy(b, src)
		s.mu.Unlock()
		return len(src), nil
	}
	defer s.unlock()
	done := 0
	for done < len(src) {
		page, err := s.pageLocked(addr+uint64(done), Write)
		if err != nil {
			return done, err
		}
		done += copy(page, src[done:])
	}
	return done, nil
}

// Zero clears n bytes of user memory at addr. The error is EFAULT.
func (s *Space) Zero(addr uint64, n int) error {
	_, err := s.each(addr, n, Write, func(page []byte, _ int) { clear(page) })
	return err
}

// CopyInString reads a NUL-terminated string of at most limit bytes, the NUL not counted. Errors:
// EFAULT, ENAMETOOLONG.
func (s *Space) CopyInString(addr uint64, limit int) (string, error) {
	s.mu.Lock()
	defer s.unlock()
	var text []byte
	for {
		page, err := s.pageLocked(addr+uint64(len(text)), Read)
		if err != nil {
			return "", err
		}
		if i := bytes.IndexByte(page, 0); i >= 0 {
			page = page[:i]
			if len(text)+i > limit {
				return "", unix.ENAMETOOLONG
			}
			return string(append(text, page...)), nil
		}
		text = append(text, page...)
		if len(text) > limit {
			return "", unix.ENAMETOOLONG
		}
	}
}

// Range is a piece of user memory.
type Range struct {
	Addr uint64
	Len  int
}

// Buffer is user memory as the file layer reads and writes it: it implements vfs.Buffer over
// the pieces of an iovec.
type Buffer struct {
	space *Space
	vecs  []Range
	len   int
	few   [8]Range // short vectors need no memory of their own
}

// Set makes b a buffer over one piece of memory of s.
func (b *Buffer) Set(s *Space, addr uint64, n int) {
	b.Reset(s)
	b.Add(Range{addr, n})
}

// Reset makes b an empty buffer over memory of s, to which Add appends.
func (b *Buffer) Reset(s *Space) {
	b.space, b.len, b.vecs = s, 0, b.few[:0]
}

// Add appends a piece. Lengths are not negative and their sum does not overflow.
func (b *Buffer) Add(v Range) {
	b.vecs = append(b.vecs, v)
	b.len += v.Len
}

// Len is the number of bytes of all pieces.
func (b *Buffer) Len() int { return b.len }

// CopyOut copies src to the buffer at off; EFAULT with the number of bytes that could be written.
func (b *Buffer) CopyOut(off int, src []byte) (int, error) {
	return b.pieces(off, len(src), func(addr uint64, lo, hi int) (int, error) {
		return b.space.CopyOut(addr, src[lo:hi])
	})
}

// CopyIn copies from the buffer at off to dst; EFAULT with the number of bytes that could be read.
func (b *Buffer) CopyIn(off int, dst []byte) (int, error) {
	return b.pieces(off, len(dst), func(addr uint64, lo, hi int) (int, error) {
		return b.space.CopyIn(addr, dst[lo:hi])
	})
}

func (b *Buffer) pieces(off, n int, op func(addr uint64, lo, hi int) (int, error)) (int, error) {
	done := 0
	for _, v := range b.vecs {
		if done == n {
			break
		}
		if off >= v.Len {
			off -= v.Len
			continue
		}
		step := min(v.Len-off, n-done)
		got, err := op(v.Addr+uint64(off), done, done+step)
		done += got
		if err != nil {
			return done, err
		}
		off = 0
	}
	if done < n {
		return done, unix.EFAULT
	}
	return done, nil
}
