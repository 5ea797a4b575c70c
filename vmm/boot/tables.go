package boot

import (
	"encoding/binary"
	"fmt"

	"ringo/internal/pagetable"
)

// tables collects boot page tables in host memory until they are written in one piece.
type tables struct {
	base  uint64 // GPA of frames[0]
	limit int
	frame []*[pagetable.Entries]uint64
}

// Table implements pagetable.Memory.
func (t *tables) Table(gpa uint64) *[pagetable.Entries]uint64 {
	i := (gpa - t.base) / pageSize
	if gpa < t.base || gpa%pageSize != 0 || i >= uint64(len(t.frame)) {
		return nil
	}
	return t.frame[i]
}

// AllocTable implements pagetable.Memory.
func (t *tables) AllocTable() (uint64, bool) {
	if len(t.frame) == t.limit {
		return 0, false
	}
	t.frame = append(t.frame, new([pagetable.Entries]uint64))
	return t.base + uint64(len(t.frame)-1)*pageSize, true
}

// FreeTable implements pagetable.Memory. Boot tables only grow.
func (t *tables) FreeTable(uint64) {}

// writeTables builds the boot page tables and returns the GPA of their root and the bytes used.
// ram and devices are (base, size) in GPA.
func writeTables(l *Layout, mem Memory, k *Kernel, ram, devices [][2]uint64) (root, size uint64, err error) {
	t := &tables{base: l.RAMBase + tablesOffset, limit: (tablesEnd - tablesOffset) / pageSize}
	root, _ = t.AllocTable()
	m := l.tables(t, root)
	const code = pagetable.Read | pagetable.Write | pagetable.Exec
	for _, r := range ram {
		if err := m.MapRange(l.DirectMap+r[0], r[0], r[1], code, pagetable.Size2M); err != nil {
			return 0, 0, fmt.Errorf("boot page tables for %d MiB of RAM at %#x: %w", r[1]>>20, r[0], err)
		}
	}
	for _, r := range devices {
		if err := m.MapRange(l.DirectMap+r[0], r[0], r[1], pagetable.Read|pagetable.Write|pagetable.Device, pagetable.Size4K); err != nil {
			return 0, 0, fmt.Errorf("boot page tables for registers at %#x: %w", r[0], err)
		}
	}
	if l.mapKernel {
		if err := m.MapRange(k.Virt, k.Phys, k.Size, code, pagetable.Size2M); err != nil {
			return 0, 0, fmt.Errorf("boot page tables for the kernel image: %w", err)
		}
	}
	var buf [pageSize]byte
	for i, f := range t.frame {
		for j, e := range f {
			binary.LittleEndian.PutUint64(buf[j*8:], e)
		}
		if err := mem.WriteAt(t.base+uint64(i)*pageSize, buf[:], loader); err != nil {
			return 0, 0, err
		}
	}
	return root, uint64(len(t.frame)) * pageSize, nil
}
