package kvm

import (
	"errors"
	"fmt"
	"io/fs"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// Request numbers that gokvm does not export or does not have (include/uapi/linux/kvm.h).
const (
	nrCreateVM            = 0x01
	nrSetUserMemoryRegion = 0x46
	nrIRQFD               = 0x76
	nrIOEventFD           = 0x79
	nrRun                 = 0x80
	nrEnableCap           = 0xa3
	nrCreateDevice        = 0xe0
	nrSetDeviceAttr       = 0xe1
)

// Device is the path of the KVM character device.
const Device = "/dev/kvm"

// Errors of Open, for callers that offer another host instead.
var (
	// ErrNoDevice: the host has no /dev/kvm.
	ErrNoDevice = errors.New("this host has no " + Device)
	// ErrPermission: the caller may not open /dev/kvm.
	ErrPermission = errors.New("no permission to open " + Device)
)

// VM is one virtual machine: /dev/kvm and the VM file descriptor. Its methods may be
// called from any goroutine.
type VM struct {
	system, fd int
}

// Open opens /dev/kvm and creates a VM. vmType is KVM_CREATE_VM's argument, computed from
// the system's capabilities (0 on amd64, the size of guest-physical addresses on arm64).
func Open(vmType func(check func(gokvm.Capability) int) uintptr) (*VM, error) {
	system, err := unix.Open(Device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return nil, fmt.Errorf("%w (%w): load the kvm module, or use --host hosted", ErrNoDevice, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w (%w): join the group that owns it, or use --host hosted", ErrPermission, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", Device, err)
	}
	vm := &VM{system: system, fd: -1}
	if v, err := Uninterrupted(func() (uintptr, error) { return gokvm.GetAPIVersion(uintptr(system)) }); err != nil || v != 12 {
		vm.Close()
		return nil, fmt.Errorf("%s speaks API version %d (%v), want 12: not a KVM device", Device, v, err)
	}
	kind := vmType(vm.CheckSystem)
	fd, err := Uninterrupted(func() (uintptr, error) { return gokvm.Ioctl(uintptr(system), None(nrCreateVM), kind) })
	if err != nil {
		vm.Close()
		return nil, fmt.Errorf("KVM_CREATE_VM: %w", err)
	}
	vm.fd = int(fd)
	return vm, nil
}

// Uninterrupted repeats a call until a signal did not end it. The Go runtime sends SIGURG to
// its threads to preempt them, and several of KVM's requests (KVM_CREATE_VM on arm64
// among them) then answer EINTR with nothing done.
func Uninterrupted[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// Close releases both file descriptors. KVM frees the VM when its vCPUs are closed too.
func (vm *VM) Close() error {
	var errs []error
	for _, fd := range []*int{&vm.fd, &vm.system} {
		if *fd >= 0 {
			errs = append(errs, unix.Close(*fd))
			*fd = -1
		}
	}
	return errors.Join(errs...)
}

// FD is the VM's file descriptor, for the ioctls of arch/*/vcpu.
func (vm *VM) FD() int { return vm.fd }

// SystemFD is the file descriptor of /dev/kvm.
func (vm *VM) SystemFD() int { return vm.system }

// CheckSystem is KVM_CHECK_EXTENSION on /dev/kvm: 0 means absent.
func (vm *VM) CheckSystem(c gokvm.Capability) int {
	n, err := Uninterrupted(func() (uintptr, error) { return gokvm.CheckExtension(uintptr(vm.system), c) })
	if err != nil {
		return 0
	}
	return int(n)
}

// Check is KVM_CHECK_EXTENSION on this VM: 0 means absent.
func (vm *VM) Check(c gokvm.Capability) int {
	n, err := Uninterrupted(func() (uintptr, error) { return gokvm.CheckExtension(uintptr(vm.fd), c) })
	if err != nil {
		return 0
	}
	return int(n)
}

// MaxCPUs is how many vCPUs a VM of this host may have.
func (vm *VM) MaxCPUs() int {
	const capNrVCPUs, capMaxVCPUs = 9, 66
	if n := vm.Check(capMaxVCPUs); n > 0 {
		return n
	}
	return max(vm.Check(capNrVCPUs), 1)
}

type enableCap struct {
	Cap, Flags uint32
	Args       [4]uint64
	_          [64]byte
}

// EnableCap is KVM_ENABLE_CAP with one argument.
func (vm *VM) EnableCap(c gokvm.Capability, arg uint64) error {
	e := enableCap{Cap: uint32(c), Args: [4]uint64{arg}}
	if _, err := Ioctl(vm.fd, W[enableCap](nrEnableCap), &e); err != nil {
		return fmt.Errorf("KVM_ENABLE_CAP %d (%#x): %w", c, arg, err)
	}
	return nil
}

// SetMemory maps size bytes of this process at hva into the guest at gpa. Size 0 deletes
// the slot. All three are page aligned.
func (vm *VM) SetMemory(slot, flags uint32, gpa, size uint64, hva uintptr) error {
	r := gokvm.UserspaceMemoryRegion{Slot: slot, Flags: flags, GuestPhysAddr: gpa, MemorySize: size, UserspaceAddr: uint64(hva)}
	if _, err := Ioctl(vm.fd, W[gokvm.UserspaceMemoryRegion](nrSetUserMemoryRegion), &r); err != nil {
		return fmt.Errorf("memory slot %d (GPA %#x, %#x bytes): %w", slot, gpa, size, err)
	}
	return nil
}

type irqFD struct {
	FD, GSI, Flags, ResampleFD uint32
	_                          [16]byte
}

// IRQFD makes a write to eventfd raise the edge-triggered interrupt gsi.
func (vm *VM) IRQFD(eventfd int, gsi uint32) error {
	r := irqFD{FD: uint32(eventfd), GSI: gsi}
	if _, err := Ioctl(vm.fd, W[irqFD](nrIRQFD), &r); err != nil {
		return fmt.Errorf("KVM_IRQFD for GSI %d: %w", gsi, err)
	}
	return nil
}

type ioEventFD struct {
	DataMatch, Addr uint64
	Len             uint32
	FD              int32
	Flags           uint32
	_               [36]byte
}

const ioEventFDDataMatch = 1 << 0

// IOEventFD makes a 32-bit store of value to gpa signal eventfd in place of an exit.
func (vm *VM) IOEventFD(eventfd int, gpa uint64, value uint32) error {
	r := ioEventFD{DataMatch: uint64(value), Addr: gpa, Len: 4, FD: int32(eventfd), Flags: ioEventFDDataMatch}
	if _, err := Ioctl(vm.fd, W[ioEventFD](nrIOEventFD), &r); err != nil {
		return fmt.Errorf("KVM_IOEVENTFD at GPA %#x for value %d: %w", gpa, value, err)
	}
	return nil
}

// CreateDevice creates an in-kernel device and returns its file descriptor, which the
// caller owns.
func (vm *VM) CreateDevice(kind uint32) (int, error) {
	d := gokvm.Device{Type: kind}
	if _, err := Ioctl(vm.fd, RW[gokvm.Device](nrCreateDevice), &d); err != nil {
		return -1, fmt.Errorf("KVM_CREATE_DEVICE type %d: %w", kind, err)
	}
	return int(d.Fd), nil
}

type deviceAttr struct {
	Flags, Group uint32
	Attr, Addr   uint64
}

// SetDeviceAttr sets an attribute of a device or vCPU. value nil: the attribute is a command.
func SetDeviceAttr(fd int, group uint32, attr uint64, value *uint64) error {
	a := &deviceAttr{Group: group, Attr: attr}
	v := new(uint64) // on the heap: KVM follows the address inside a
	if value != nil {
		*v = *value
		a.Addr = pointerTo(v)
	}
	_, err := Ioctl(fd, W[deviceAttr](nrSetDeviceAttr), a)
	keepAlive(v)
	if err != nil {
		return fmt.Errorf("KVM_SET_DEVICE_ATTR group %d attribute %d: %w", group, attr, err)
	}
	return nil
}
