package vcpu

import "testing"

func host() []cpuidEntry {
	return []cpuidEntry{
		{Function: 1, EBX: 0x07_10_08_00, ECX: leaf1ECXMonitor, EDX: leaf1EDXHTT},
		{Function: 4, Index: 0, Flags: 1, EAX: 0xfc00_4121}, // level 1 data, shared
		{Function: 4, Index: 3, Flags: 1, EAX: 0xfc07_c163}, // level 3
		{Function: 4, Index: 4, Flags: 1},
		{Function: 7, Flags: 1, EBX: leaf7EBXFSGSBASE},
		{Function: 0xb, Index: 0, Flags: 1, EAX: 1, EBX: 2, ECX: 0x100, EDX: 9},
		{Function: 0xb, Index: 1, Flags: 1, EAX: 4, EBX: 16, ECX: 0x201, EDX: 9},
		{Function: 0x1f, Index: 0, Flags: 1, EAX: 1, EBX: 2, ECX: 0x100, EDX: 9},
		{Function: 0x8000_0008, EAX: 0x3030, ECX: 0x400f},
		{Function: 0x8000_001e, EAX: 9, EBX: 0x104, ECX: 1},
	}
}

func TestCPUIDOfEachVCPU(t *testing.T) {
	for _, n := range []int{1, 2, 3, 64} {
		for id := range n {
			e := forVCPU(host(), id, n)
			one := findCPUID(e, 1, 0)
			if one.EBX>>24 != uint32(id) || one.EBX>>16&0xff != uint32(n) || one.EBX&0xffff != 0x0800 {
				t.Errorf("%d of %d: leaf 1 EBX = %#x", id, n, one.EBX)
			}
			if one.ECX&leaf1ECXMonitor != 0 {
				t.Errorf("MONITOR is offered, which KVM does not run")
			}
			for _, bit := range []uint32{leaf1ECXX2APIC, leaf1ECXTSCDeadline, leaf1ECXHypervisor} {
				if one.ECX&bit == 0 {
					t.Errorf("leaf 1 ECX = %#x lacks %#x", one.ECX, bit)
				}
			}
			if htt := one.EDX&leaf1EDXHTT != 0; htt != (n > 1) {
				t.Errorf("%d CPUs: HTT %t", n, htt)
			}
			count := 0
			for _, x := range e {
				if x.Function != 0xb {
					continue
				}
				count++
				if x.EDX != uint32(id) || x.ECX&0xff != x.Index || x.Flags&1 == 0 {
					t.Errorf("%d of %d: leaf 0xb.%d = %+v", id, n, x.Index, x)
				}
			}
			if count != 3 {
				t.Errorf("%d sub-leaves of 0xb, want thread, core and the end", count)
			}
			core := findCPUID(e, 0xb, 1)
			if core.EBX != uint32(n) || 1<<core.EAX < n {
				t.Errorf("%d CPUs: core level %+v", n, core)
			}
			if findCPUID(e, 0x1f, 0).Function != 0 {
				t.Error("the host's leaf 0x1f is left")
			}
			if x := findCPUID(e, 0x8000_001e, 0); x.EAX != uint32(id) || x.EBX&0xff != uint32(id) {
				t.Errorf("%d of %d: extended APIC id %+v", id, n, x)
			}
			if x := findCPUID(e, 0x8000_0008, 0); x.ECX&0xff != uint32(n-1) || x.EAX != 0x3030 {
				t.Errorf("%d CPUs: leaf 0x80000008 %+v", n, x)
			}
			if l1 := findCPUID(e, 4, 0); l1.EAX>>14&0xfff != 0 || l1.EAX&0x3fff != 0x0121 {
				t.Errorf("level 1 cache %#x is shared or changed", l1.EAX)
			}
			if l3 := findCPUID(e, 4, 3); l3.EAX>>14&0xfff != uint32(n-1) {
				t.Errorf("%d CPUs: level 3 cache %#x", n, l3.EAX)
			}
		}
	}
}
