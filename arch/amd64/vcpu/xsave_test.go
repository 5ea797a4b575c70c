package vcpu

import "testing"

func TestXSaveSize(t *testing.T) {
	cpuid := []cpuidEntry{
		{Function: 0xd, Index: 0, EAX: 7 | 1<<5}, {Function: 0xd, Index: 1, ECX: 1 << 11},
		{Function: 0xd, Index: 2, EAX: 256, EBX: 576}, {Function: 0xd, Index: 5, EAX: 64, EBX: 1088},
		{Function: 0xd, Index: 11, EAX: 16, ECX: 2},
	}
	for _, c := range []struct {
		components uint64
		compacted  bool
		want       int
	}{
		{3, false, 576}, {7, false, 832}, {0x27, false, 1152}, {^uint64(0), false, 1152},
		{3, true, 576}, {0x27, true, 896}, {0x21, true, 640}, {^uint64(0), true, 912},
	} {
		if got := xsaveSize(cpuid, c.components, c.compacted); got != c.want {
			t.Errorf("components %#x, compacted %t: %d bytes, want %d", c.components, c.compacted, got, c.want)
		}
	}
}
