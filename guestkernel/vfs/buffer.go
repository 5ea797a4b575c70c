package vfs

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Buffer is the memory that one read or write transfers to or from: user memory behind a task's address space, or kernel memory.
//
// A copy stops at the first byte that cannot be reached and answers how many bytes were copied before it, with EFAULT. Offsets and
// lengths are in bytes and must lie within Len. Copies may fault pages in, so no lock that the memory manager or a page cache takes
// may be held.
type Buffer interface {
	// Len is the size of the whole transfer.
	Len() int
	// CopyOut copies src into the buffer at off: the direction of read(2).
	CopyOut(off int, src []byte) (int, error)
	// CopyIn copies from the buffer at off into dst: the direction of write(2).
	CopyIn(off int, dst []byte) (int, error)
}

// Bytes is a Buffer over kernel memory.
type Bytes []byte

// Len is the length of b.
func (b Bytes) Len() int { return len(b) }

// CopyOut copies src to b[off:].
func (b Bytes) CopyOut(off int, src []byte) (int, error) {
	n := copy(b[off:], src)
	if n < len(src) {
		return n, unix.EFAULT
	}
	return n, nil
}

// CopyIn copies b[off:] to dst.
func (b Bytes) CopyIn(off int, dst []byte) (int, error) {
	n := copy(dst, b[off:])
	if n < len(dst) {
		return n, unix.EFAULT
	}
	return n, nil
}

// Slice answers the n bytes of b from off on, as a buffer of its own. It is bounded to b.
func Slice(b Buffer, off, n int) Buffer {
	off = min(off, b.Len())
	n = min(n, b.Len()-off)
	if off == 0 && n == b.Len() {
		return b
	}
	if s, ok := b.(slice); ok {
		return slice{s.Buffer, s.off + off, n}
	}
	return slice{b, off, n}
}

type slice struct {
	Buffer
	off, n int
}

func (s slice) Len() int { return s.n }

func (s slice) CopyOut(off int, src []byte) (int, error) { return s.Buffer.CopyOut(s.off+off, src) }

func (s slice) CopyIn(off int, dst []byte) (int, error) { return s.Buffer.CopyIn(s.off+off, dst) }

// UserMemory reaches single objects in the caller's address space: structures of ioctl, fcntl and the like. Both are all or nothing as
// far as the caller can tell: EFAULT when any byte is out of reach.
type UserMemory interface {
	// CopyInUser reads len(dst) bytes from the user address addr.
	CopyInUser(addr uint64, dst []byte) error
	// CopyOutUser writes src to the user address addr.
	CopyOutUser(addr uint64, src []byte) error
}

// PutInt32 writes a C int to user memory.
func PutInt32(c UserMemory, addr uint64, v int32) error {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(v))
	return c.CopyOutUser(addr, b[:])
}

// GetInt32 reads a C int from user memory.
func GetInt32(c UserMemory, addr uint64) (int32, error) {
	var b [4]byte
	err := c.CopyInUser(addr, b[:])
	return int32(binary.LittleEndian.Uint32(b[:])), err
}
