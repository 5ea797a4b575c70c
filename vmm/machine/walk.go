package machine

import (
	"encoding/binary"
	"time"

	"ringo/internal/pagetable"
)

// WalkRoot is the way of gva through the page tables at GPA root.
func (m *Memory) WalkRoot(root, gva uint64) pagetable.Walk {
	return readWalk(root, gva, func(gpa uint64) (uint64, bool) {
		var b [8]byte
		n := m.Peek(gpa, b[:])
		return binary.LittleEndian.Uint64(b[:]), n == len(b)
	})
}

// Elapsed is the time since the vCPUs started; 0 before that. Run must have been called in this goroutine or one that it
// happens before.
func (m *Machine) Elapsed() time.Duration {
	if m.start.IsZero() {
		return 0
	}
	return time.Since(m.start)
}
