package mm

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// word returns the naturally aligned 32-bit user word at addr with the space locked.
//
// Sound because frames lie outside the Go heap or in memory their owner keeps alive, the
// page is at least 4 bytes long from an aligned address on, and the space's lock is held
// for as long as the pointer is used, so the frame cannot be freed.
func (s *Space) wordLocked(addr uint64, access Prot) (*uint32, error) {
	if addr%4 != 0 {
		return nil, unix.EINVAL
	}
	page, err := s.pageLocked(addr, access)
	if err != nil {
		return nil, err
	}
	return (*uint32)(unsafe.Pointer(&page[0])), nil
}

// Load32 reads a 32-bit word atomically with regard to user code on other CPUs. Errors: EINVAL (unaligned), EFAULT.
func (s *Space) Load32(addr uint64) (uint32, error) {
	s.mu.Lock()
	defer s.unlock()
	p, err := s.wordLocked(addr, Read)
	if err != nil {
		return 0, err
	}
	return atomic.LoadUint32(p), nil
}

// Update32 replaces a 32-bit word by fn of it, atomically with regard to user code on other CPUs,
// and returns the old value. fn may be called several times. Errors: EINVAL (unaligned), EFAULT.
func (s *Space) Update32(addr uint64, fn func(old uint32) uint32) (uint32, error) {
	s.mu.Lock()
	defer s.unlock()
	p, err := s.wordLocked(addr, Write)
	if err != nil {
		return 0, err
	}
	for {
		old := atomic.LoadUint32(p)
		if atomic.CompareAndSwapUint32(p, old, fn(old)) {
			return old, nil
		}
	}
}

// WordKey names the memory behind a user word the same way for every space that maps it: the
// object and offset of a shared mapping, else the space and the address (futex(2)). With
// private set the space and address are taken without looking.
type WordKey struct {
	Owner  any
	Offset uint64
}

// Hash spreads keys over a table. Words of one process lie side by side, and those of two that run the same program at the same addresses.
func (k WordKey) Hash() uint64 {
	h := k.Offset >> 2
	if s, ok := k.Owner.(*Space); ok {
		h += s.serial << 40
	}
	h *= 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return h >> 32
}

// KeyOf returns the key of the word at addr. Errors: EINVAL (unaligned), EFAULT.
func (s *Space) KeyOf(addr uint64, private bool) (WordKey, error) {
	if addr%4 != 0 {
		return WordKey{}, unix.EINVAL
	}
	if addr >= UserTop {
		return WordKey{}, unix.EFAULT
	}
	if private {
		return WordKey{s, addr}, nil
	}
	s.mu.Lock()
	defer s.unlock()
	v, f := s.accessibleLocked(addr, Read)
	if f != nil {
		return WordKey{}, unix.EFAULT
	}
	if v.Flags&VMAShared != 0 && v.Object != nil {
		return WordKey{v.Object.Identity(), v.offsetOf(addr)}, nil
	}
	return WordKey{s, addr}, nil
}
