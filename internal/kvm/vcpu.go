package kvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
	"golang.org/x/sys/unix"
)

// KickSignal takes a vCPU thread out of KVM_RUN. The Go runtime always handles SIGURG and
// treats one that it did not send as harmless.
const KickSignal = unix.SIGURG

// VCPU is a vCPU file descriptor and its mapped kvm_run. Run and everything that touches
// registers belong to one locked thread; Kick may be called from anywhere.
type VCPU struct {
	ID  int
	fd  int
	run []byte
	tid atomic.Int32
}

// NewVCPU creates vCPU number id.
func (vm *VM) NewVCPU(id int) (*VCPU, error) {
	size, err := Uninterrupted(func() (uintptr, error) { return gokvm.GetVCPUMMmapSize(uintptr(vm.system)) })
	if err != nil {
		return nil, fmt.Errorf("KVM_GET_VCPU_MMAP_SIZE: %w", err)
	}
	if size < pageSize {
		return nil, fmt.Errorf("KVM_GET_VCPU_MMAP_SIZE is %d bytes, less than a page", size)
	}
	fd, err := Uninterrupted(func() (uintptr, error) { return gokvm.CreateVCPU(uintptr(vm.fd), id) })
	if err != nil {
		return nil, fmt.Errorf("create vCPU %d: %w", id, err)
	}
	run, err := unix.Mmap(int(fd), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(int(fd))
		return nil, fmt.Errorf("map kvm_run of vCPU %d: %w", id, err)
	}
	return &VCPU{ID: id, fd: int(fd), run: run}, nil
}

// FD is the vCPU's file descriptor.
func (v *VCPU) FD() int { return v.fd }

// Close unmaps and closes. No thread may be in Run.
func (v *VCPU) Close() error {
	err := errors.Join(unix.Munmap(v.run), unix.Close(v.fd))
	v.run, v.fd = nil, -1
	return err
}

// Bind makes the calling thread, which the caller has locked, the one that Kick signals.
// The returned function undoes it; call it before the thread is unlocked.
func (v *VCPU) Bind() (release func()) {
	v.tid.Store(int32(unix.Gettid()))
	return func() { v.tid.Store(0) }
}

// Kick makes a Run that is under way, or else the next one, return ErrKicked. Callable from
// any goroutine at any time between NewVCPU and Close.
func (v *VCPU) Kick() {
	setImmediateExit(v.run)
	if tid := v.tid.Load(); tid != 0 {
		// ESRCH: the thread has just left, so there is nothing to interrupt.
		_ = unix.Tgkill(os.Getpid(), int(tid), KickSignal)
	}
}

// Errors of Run.
var (
	// ErrInterrupted: a signal ended KVM_RUN before the guest did; run again.
	ErrInterrupted = errors.New("interrupted")
	// ErrKicked: Kick was called since the last Run.
	ErrKicked = errors.New("kicked")
)

// Run enters the guest and decodes why it left into x, whose slices point into kvm_run and
// are valid until the next Run. An errno (EFAULT: guest memory not accessible) is returned
// as is, with x.Reason as KVM left it.
func (v *VCPU) Run(x *Exit) error {
	// Not RawSyscall: the thread must give its P away while the guest runs.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(v.fd), None(nrRun), 0)
	if errno == unix.EINTR || errno == unix.EAGAIN {
		if immediateExit(v.run) {
			clearImmediateExit(v.run)
			return ErrKicked
		}
		return ErrInterrupted
	}
	x.decode(v.run)
	if errno != 0 {
		return errno
	}
	return nil
}

// CompleteIO enters KVM without running the guest so that the register effects of the last
// IO or MMIO exit are final (where PC stands before that depends on the vendor module).
func (v *VCPU) CompleteIO() {
	kicked := immediateExit(v.run)
	setImmediateExit(v.run)
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(v.fd), None(nrRun), 0)
	if !kicked {
		clearImmediateExit(v.run)
	}
}

func keepAlive(p *uint64) { runtime.KeepAlive(p) }

const pageSize = 4096

var order = binary.LittleEndian
