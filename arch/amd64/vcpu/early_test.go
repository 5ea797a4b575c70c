package vcpu

import (
	"encoding/binary"
	"strings"
	"testing"
)

const earlyAt = 0xffff_8880_0001_2000

// Every gate leads to its own stub, on the first interrupt stack.
func TestEarlyGates(t *testing.T) {
	b := EarlyVectors(earlyAt)
	le := binary.LittleEndian
	for n := range uint64(earlyVectors) {
		g := b[earlyIDT+n*16:]
		target := uint64(le.Uint16(g)) | uint64(le.Uint16(g[6:]))<<16 | uint64(le.Uint32(g[8:]))<<32
		if want := earlyAt + earlyStubs + n*stubSize; target != want || le.Uint16(g[2:]) != 8 || g[4] != 1 || g[5] != 0x8e {
			t.Errorf("gate %d: % x leads to %#x, want %#x", n, g[:16], target, want)
		}
		if stub := b[earlyStubs+n*stubSize:]; stub[0] != 0xe6 || stub[1] != EarlyPort {
			t.Errorf("stub %d: % x", n, stub[:stubSize])
		}
	}
	seen := map[uint64]bool{}
	for cpu := range maxEarlyCPUs {
		stack := le.Uint64(b[earlyTSS+cpu*tssSize+0x24:])
		if stack <= earlyAt+earlyStacks || stack > earlyAt+EarlySize || stack%16 != 0 || seen[stack] {
			t.Errorf("stack of vCPU %d at %#x", cpu, stack)
		}
		seen[stack] = true
	}
}

func TestEarlyException(t *testing.T) {
	for _, c := range []struct {
		vector uint64
		frame  []uint64 // as pushed, the last word first
		want   string
	}{
		{6, []uint64{0x1111, 8, 0x10002, 0x2222, 0x10}, "#UD"},
		{14, []uint64{2, 0x1111, 8, 0x10002, 0x2222, 0x10}, "error code 0x2, address 0xdead"},
	} {
		for _, behind := range []uint64{0, 2} { // RIP before or after the OUT
			r := new(Registers)
			r.General.RIP, r.System.CR2 = earlyAt+earlyStubs+c.vector*stubSize+behind, 0xdead
			text := EarlyException(r, earlyAt, func(_ uint64, n int) []byte {
				var b []byte
				for _, w := range c.frame {
					b = binary.LittleEndian.AppendUint64(b, w)
				}
				return b[:n]
			})
			if !strings.Contains(text, c.want) || r.General.RIP != 0x1111 || r.General.RSP != 0x2222 || r.General.RFLAGS != 0x10002 {
				t.Errorf("vector %d: %q, rip %#x rsp %#x", c.vector, text, r.General.RIP, r.General.RSP)
			}
		}
	}
	r := new(Registers)
	r.General.RIP = earlyAt + earlyStubs + 6*stubSize
	if text := EarlyException(r, earlyAt, func(uint64, int) []byte { return nil }); !strings.Contains(text, "cannot be read") {
		t.Errorf("no frame: %q", text)
	}
}
