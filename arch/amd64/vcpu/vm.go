package vcpu

import (
	"fmt"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"ringo/internal/kvm"
)

const (
	nrSetTSSAddr         = 0x47
	nrSetIdentityMapAddr = 0x48
	nrGetSupportedCPUID  = 0x05
	nrSetGSIRouting      = 0x6a

	// Three pages below the local APIC that KVM uses on Intel processors without
	// unrestricted guest, and one for its identity map; no memory slot lies there.
	tssAddr      = 0xfffb_d000
	identityAddr = 0xfffb_c000

	capX2APICAPI            = gokvm.Capability(129)
	x2apicUse32BitIDs       = 1 << 0
	x2apicDisableBroadcasts = 1 << 1

	ioapicPins    = 24
	routeIRQChip  = 1
	irqChipIOAPIC = 2

	maxCPUIDEntries = 256
)

// VM is a virtual machine with its in-kernel interrupt controllers.
type VM struct {
	*kvm.VM
	cpus  int
	cpuid []cpuidEntry // of the host, before it is cut to each vCPU
}

// NewVM creates the VM, its local APICs (x2APIC) and its I/O APIC for cpus vCPUs.
func NewVM(cpus int) (*VM, error) {
	k, err := kvm.Open(func(func(gokvm.Capability) int) uintptr { return 0 })
	if err != nil {
		return nil, err
	}
	vm := &VM{VM: k, cpus: cpus}
	if err := vm.setUp(); err != nil {
		k.Close()
		return nil, err
	}
	return vm, nil
}

func (vm *VM) setUp() error {
	if _, err := kvm.Uninterrupted(func() (none struct{}, err error) { return none, gokvm.SetTSSAddr(uintptr(vm.FD()), tssAddr) }); err != nil {
		return fmt.Errorf("KVM_SET_TSS_ADDR: %w", err)
	}
	identity := uint64(identityAddr) // gokvm passes 4 bytes where KVM reads 8
	if _, err := kvm.Ioctl(vm.FD(), kvm.W[uint64](nrSetIdentityMapAddr), &identity); err != nil {
		return fmt.Errorf("KVM_SET_IDENTITY_MAP_ADDR: %w", err)
	}
	if _, err := kvm.Uninterrupted(func() (none struct{}, err error) { return none, gokvm.CreateIRQChip(uintptr(vm.FD())) }); err != nil {
		return fmt.Errorf("KVM_CREATE_IRQCHIP: %w", err)
	}
	if err := vm.routeInterrupts(); err != nil {
		return err
	}
	if vm.Check(capX2APICAPI) != 0 {
		if err := vm.EnableCap(capX2APICAPI, x2apicUse32BitIDs|x2apicDisableBroadcasts); err != nil {
			return err
		}
	}
	var err error
	vm.cpuid, err = supportedCPUID(vm.SystemFD())
	return err
}

// gsiRoute is struct kvm_irq_routing_entry of kind KVM_IRQ_ROUTING_IRQCHIP.
type gsiRoute struct {
	GSI, Type, Flags, _ uint32
	IRQChip, Pin        uint32
	_                   [6]uint32
}

// gsiRoutes is struct kvm_irq_routing with its entries.
type gsiRoutes struct {
	N, Flags uint32
	Routes   [ioapicPins]gsiRoute
}

type gsiHeader struct{ N, Flags uint32 }

// routeInterrupts connects GSI n to pin n of the I/O APIC and to nothing else. KVM's default
// also feeds the two PICs, whose unprogrammed vectors would look like exceptions to a guest
// that leaves LINT0 as it is after reset.
func (vm *VM) routeInterrupts() error {
	r := gsiRoutes{N: ioapicPins}
	for n := range r.Routes {
		r.Routes[n] = gsiRoute{GSI: uint32(n), Type: routeIRQChip, IRQChip: irqChipIOAPIC, Pin: uint32(n)}
	}
	if _, err := kvm.Ioctl(vm.FD(), kvm.W[gsiHeader](nrSetGSIRouting), &r); err != nil {
		return fmt.Errorf("KVM_SET_GSI_ROUTING: %w", err)
	}
	return nil
}

// StartInterrupts completes the interrupt controllers once all vCPUs exist.
func (vm *VM) StartInterrupts() error { return nil }

// Close releases the VM; close its vCPUs first.
func (vm *VM) Close() error { return vm.VM.Close() }

// MaxMemory is the highest amount of RAM in bytes the platform can address.
func (vm *VM) MaxMemory() uint64 { return 1 << 38 }
