package disasm

import "fmt"

// atomic is the instructions of FEAT_LSE, which arm64asm does not know: Arm ARM C4.1, "Atomic memory operations" and "Compare and
// swap". Go's sync/atomic is made of them.
func atomic(w uint32) (text string, ok bool) {
	size := w >> 30
	s, n, t := w>>16&31, w>>5&31, w&31
	register := func(r uint32, wide bool) string {
		kind := byte('w')
		if wide {
			kind = 'x'
		}
		if r == 31 {
			return string(kind) + "zr"
		}
		return fmt.Sprintf("%c%d", kind, r)
	}
	base := register(n, true)
	if n == 31 {
		base = "sp"
	}
	order := func(acquire, release bool) (s string) {
		if acquire {
			s = "a"
		}
		if release {
			s += "l"
		}
		return s
	}
	width := [...]string{"b", "h", "", ""}[size]
	switch {
	case w&0x3f200c00 == 0x38200000: // ld<op>, swp
		names := [...]string{"ldadd", "ldclr", "ldeor", "ldset", "ldsmax", "ldsmin", "ldumax", "ldumin", "swp"}
		op := w >> 12 & 15
		if op >= uint32(len(names)) {
			return "", false
		}
		name := names[op] + order(w>>23&1 != 0, w>>22&1 != 0) + width
		return fmt.Sprintf("%s %s, %s, [%s]", name, register(s, size == 3), register(t, size == 3), base), true
	case w&0x3fa07c00 == 0x08a07c00: // cas
		name := "cas" + order(w>>22&1 != 0, w>>15&1 != 0) + width
		return fmt.Sprintf("%s %s, %s, [%s]", name, register(s, size == 3), register(t, size == 3), base), true
	case w&0xbfa07c00 == 0x08207c00: // casp: pairs of registers
		wide := w>>30&1 != 0
		name := "casp" + order(w>>22&1 != 0, w>>15&1 != 0)
		return fmt.Sprintf("%s %s, %s, %s, %s, [%s]", name, register(s, wide), register(s+1, wide), register(t, wide), register(t+1, wide), base), true
	}
	return "", false
}
