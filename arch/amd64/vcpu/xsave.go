package vcpu

import "ringo/internal/store"

// CPUID leaf 0xd: the components of an xsave area (AMD64 APM volume 4 appendix E.3.8).
const (
	leafXSave     = 0xd
	legacyXSave   = 576 // the FXSAVE area and the header
	xsaveAligned  = 1 << 1
	maxComponents = 63
)

// StoreEnvironment is what the decoder of accesses needs to know of the vCPUs.
func (vm *VM) StoreEnvironment() store.Environment {
	return store.Environment{XSaveSize: func(components uint64, compacted bool) int { return xsaveSize(vm.cpuid, components, compacted) }}
}

// xsaveSize is the bytes from the start of the area to the end of the last component.
func xsaveSize(cpuid []cpuidEntry, components uint64, compacted bool) int {
	supported := findCPUID(cpuid, leafXSave, 0)
	supervisor := findCPUID(cpuid, leafXSave, 1)
	components &= uint64(supported.EDX)<<32 | uint64(supported.EAX) | uint64(supervisor.EDX)<<32 | uint64(supervisor.ECX)
	n := legacyXSave
	for i := range uint32(maxComponents) {
		if i < 2 || components>>i&1 == 0 {
			continue
		}
		e := findCPUID(cpuid, leafXSave, i)
		if !compacted {
			n = max(n, int(e.EBX)+int(e.EAX))
			continue
		}
		if e.ECX&xsaveAligned != 0 {
			n = (n + 63) &^ 63
		}
		n += int(e.EAX)
	}
	return n
}
