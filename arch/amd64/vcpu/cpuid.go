package vcpu

import (
	"fmt"
	"math/bits"

	"ringo/internal/kvm"
)

// cpuidEntry is struct kvm_cpuid_entry2.
type cpuidEntry struct {
	Function, Index, Flags, EAX, EBX, ECX, EDX uint32
	_                                          [3]uint32
}

// cpuidHeader is struct kvm_cpuid2 without its entries.
type cpuidHeader struct{ N, _ uint32 }

// cpuidBuffer is one slot of the ioctl's buffer: entry 0 starts 8 bytes in, so the header
// shares its slot with nothing and entries are copied in and out.
const entrySize, headerSize = 40, 8

func supportedCPUID(system int) ([]cpuidEntry, error) {
	buf := make([]uint32, (headerSize+entrySize*maxCPUIDEntries)/4)
	buf[0] = maxCPUIDEntries
	if _, err := kvm.IoctlSlice(system, kvm.RW[cpuidHeader](nrGetSupportedCPUID), buf); err != nil {
		return nil, fmt.Errorf("KVM_GET_SUPPORTED_CPUID: %w", err)
	}
	n := min(int(buf[0]), maxCPUIDEntries)
	entries := make([]cpuidEntry, n)
	for i := range entries {
		w := buf[headerSize/4+i*entrySize/4:]
		entries[i] = cpuidEntry{Function: w[0], Index: w[1], Flags: w[2], EAX: w[3], EBX: w[4], ECX: w[5], EDX: w[6]}
	}
	return entries, nil
}

func setCPUID(vcpu int, entries []cpuidEntry) error {
	buf := make([]uint32, (headerSize+entrySize*len(entries))/4)
	buf[0] = uint32(len(entries))
	for i, e := range entries {
		copy(buf[headerSize/4+i*entrySize/4:], []uint32{e.Function, e.Index, e.Flags, e.EAX, e.EBX, e.ECX, e.EDX})
	}
	if _, err := kvm.IoctlSlice(vcpu, kvm.W[cpuidHeader](nrSetCPUID2), buf); err != nil {
		return fmt.Errorf("KVM_SET_CPUID2: %w", err)
	}
	return nil
}

// CPUID bits used here (Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E).
const (
	leaf1ECXMonitor     = 1 << 3
	leaf1ECXX2APIC      = 1 << 21
	leaf1ECXTSCDeadline = 1 << 24
	leaf1ECXXSAVE       = 1 << 26
	leaf1ECXHypervisor  = 1 << 31
	leaf1EDXHTT         = 1 << 28
	leaf7EBXFSGSBASE    = 1 << 0
)

// forVCPU cuts the host's CPUID to vCPU id of n: APIC id, one thread a core, n cores in one
// package, timer and interrupt features the platform promises.
func forVCPU(host []cpuidEntry, id, n int) []cpuidEntry {
	out := make([]cpuidEntry, 0, len(host)+1)
	shift := uint32(bits.Len(uint(n - 1)))
	topology := [...][3]uint32{ // sub-leaf: shift to the next level, CPUs at this level, type
		{0, 1, 1},             // thread
		{shift, uint32(n), 2}, // core
		{0, 0, 0},             // end
	}
	for _, e := range host {
		switch e.Function {
		case 1:
			e.EBX = e.EBX&0x0000ffff | uint32(n&0xff)<<16 | uint32(id&0xff)<<24
			e.ECX = e.ECX&^leaf1ECXMonitor | leaf1ECXX2APIC | leaf1ECXTSCDeadline | leaf1ECXHypervisor
			e.EDX &^= leaf1EDXHTT
			if n > 1 {
				e.EDX |= leaf1EDXHTT
			}
		case 4: // caches: cores in the package, no sharing between them below level 3
			if e.EAX&0x1f != 0 {
				e.EAX &= 0x3fff
				e.EAX |= uint32(min(n-1, 63)) << 26
				if e.EAX>>5&7 == 3 {
					e.EAX |= uint32(n-1) << 14
				}
			}
		case 0xb, 0x1f: // built below
			continue
		case 0x8000_0008:
			e.ECX = e.ECX&^0xf0ff | uint32(n-1)&0xff | shift<<12
		case 0x8000_001e:
			e.EAX, e.EBX, e.ECX = uint32(id), uint32(id)&0xff, 0
		}
		out = append(out, e)
	}
	for i, t := range topology {
		out = append(out, cpuidEntry{Function: 0xb, Index: uint32(i), Flags: 1, // significant index
			EAX: t[0], EBX: t[1], ECX: t[2]<<8 | uint32(i), EDX: uint32(id)})
	}
	return out
}

func findCPUID(entries []cpuidEntry, function, index uint32) (e cpuidEntry) {
	for _, e := range entries {
		if e.Function == function && e.Index == index {
			return e
		}
	}
	return cpuidEntry{}
}
