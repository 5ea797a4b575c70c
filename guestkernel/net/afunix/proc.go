package afunix

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"ringo/guestkernel/vfs"
)

// ProcNet is /proc/net/unix.
func ProcNet(vfs.Caller) []byte {
	names.mu.RLock()
	all := make([]*Socket, 0, len(names.all))
	for s := range names.all {
		all = append(all, s)
	}
	names.mu.RUnlock()
	slices.SortFunc(all, func(a, b *Socket) int { return cmp.Compare(a.number, b.number) })
	var b bytes.Buffer
	b.WriteString("Num       RefCount Protocol Flags    Type St Inode Path\n")
	for _, s := range all {
		s.mu.Lock()
		st, n := s.state, s.name
		s.mu.Unlock()
		flags, shown := 0, 1 // SS_UNCONNECTED
		switch st {
		case listening:
			flags = 1 << 16 // __SO_ACCEPTCON
		case connected:
			shown = 3 // SS_CONNECTED
		}
		fmt.Fprintf(&b, "%016x: %08X %08X %08X %04X %02X %5d", 0, 2, 0, flags, s.Type, shown, s.Ino())
		if n != nil {
			p := n.addr[pathOffset:]
			if n.abstract() {
				p = bytes.ReplaceAll(p, []byte{0}, []byte{'@'})
			} else {
				p = bytes.TrimRight(p, "\x00")
			}
			fmt.Fprintf(&b, " %s", p)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}
