package kvm

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	gokvm "github.com/bobuhiro11/gokvm/kvm"
)

// ioctlPtr is an ioctl whose argument is memory.
//
// Sound because the conversion to uintptr is in the argument list of syscall.Syscall, which
// keeps p alive and in place until the system call has returned (unsafe.Pointer rule 4).
func ioctlPtr(fd int, op uintptr, p unsafe.Pointer) (uintptr, error) {
	for {
		r, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), op, uintptr(p))
		switch errno {
		case 0:
			return r, nil
		case syscall.EINTR:
			continue
		}
		return r, errno
	}
}

// Ioctl performs an ioctl with a fixed-size argument: op from R, W or RW with the same T.
func Ioctl[T any](fd int, op uintptr, arg *T) (uintptr, error) {
	return ioctlPtr(fd, op, unsafe.Pointer(arg))
}

// IoctlSlice performs an ioctl whose argument is a header with entries behind it. The
// caller has filled the header so that it counts no more than buf holds.
func IoctlSlice[T any](fd int, op uintptr, buf []T) (uintptr, error) {
	return ioctlPtr(fd, op, unsafe.Pointer(unsafe.SliceData(buf)))
}

// None, R, W and RW build request numbers of KVM's ioctls; T is the C structure in the number.
func None(nr uintptr) uintptr       { return gokvm.IIO(nr) }
func R[T any](nr uintptr) uintptr   { var t T; return gokvm.IIOR(nr, unsafe.Sizeof(t)) }
func W[T any](nr uintptr) uintptr   { var t T; return gokvm.IIOW(nr, unsafe.Sizeof(t)) }
func RW[T any](nr uintptr) uintptr  { var t T; return gokvm.IIOWR(nr, unsafe.Sizeof(t)) }
func pointerTo(p *uint64) uint64    { return uint64(uintptr(unsafe.Pointer(p))) }
func runWord(run []byte) *uint32    { return (*uint32)(unsafe.Pointer(unsafe.SliceData(run))) }
func setImmediateExit(run []byte)   { atomic.OrUint32(runWord(run), immediateExitBit) }
func clearImmediateExit(run []byte) { atomic.AndUint32(runWord(run), ^uint32(immediateExitBit)) }
func immediateExit(run []byte) bool { return atomic.LoadUint32(runWord(run))&immediateExitBit != 0 }

// immediateExitBit is kvm_run.immediate_exit (byte 1) seen through the little-endian word
// at offset 0, whose other bytes the monitor leaves 0. kvm_run is page aligned.
const immediateExitBit = 1 << 8
