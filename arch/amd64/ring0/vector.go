//go:build amd64

package ring0

import (
	"sync/atomic"
	"unsafe"
)

// The user's vector state while kernel Go code runs. Go code uses X0 to X15 and MXCSR, and nothing else: the Go runtime and the standard library look at XCR0
// when they are initialised, find neither AVX nor AVX-512, and use neither (TestUsersOfAVX in guestkernel/nucleus). Entering the kernel therefore saves those, 16
// stores of 16 bytes, and leaves the rest (x87, upper halves, opmasks) in the registers of this CPU, the context's *owner*. Coming back to the same context loads
// them again. XSAVE and XRSTOR, which are many times dearer, happen only when
//
//   - another context is about to use the CPU: enterUser saves the owner's rest first;
//   - the task sleeps, forks or gets a signal: SaveVector;
//   - the context comes to another CPU with its rest left here, because the Go scheduler has moved its goroutine without it having slept: enterUser refuses with
//     EventAway, and the caller goes back for it.
//
// UserContext.live says where the rest is, cpu.owner whose it is. Who takes a context out of an owner word, atomically, is the one who writes its memory and then sets live to 0.

// Extended state components (XCR0 bits; Intel SDM volume 1, 13.1) that this kernel saves: x87, SSE, AVX,
// AVX-512 (opmask, ZMM_Hi256, Hi16_ZMM). AMX would not fit the area and is left off.
const (
	xfeatureX87SSE = 3
	xfeatureAVX    = 4
	xfeatureAVX512 = 0xe0
	xfeatureSSE    = 2

	xsaveLegacy     = 512 // bytes of the legacy area, then the header
	xsaveHeaderSize = 64
	xsaveMXCSR      = 24
	xsaveMXCSRMask  = 28
	xsaveXMM        = 160
	xsaveBV         = 512
	xsaveCompBV     = 520
	mxcsrMask       = 0xffbf // without DAZ, which is added where the CPU has it
	fcwInitial      = 0x37f
	mxcsrInitial    = 0x1f80
)

var (
	xcr0       uint64 = xfeatureX87SSE
	xrest      uint32 // what of it entering the kernel leaves in the registers
	vectorSize = xsaveLegacy + xsaveHeaderSize
)

// initVectorSize chooses the components and asks how large the area is. CPU 0, once.
func initVectorSize() {
	a, _, _, _ := cpuid(0xd, 0)
	xcr0 = xfeatureX87SSE
	if a&xfeatureAVX != 0 {
		xcr0 |= xfeatureAVX
		if a&xfeatureAVX512 == xfeatureAVX512 {
			xcr0 |= xfeatureAVX512
		}
	}
	writeCR4(readCR4() | cr4OSXSAVE)
	xrest = uint32(xcr0) &^ xfeatureSSE
	xsetbv(xcr0)
	_, b, _, _ := cpuid(0xd, 0) // size for what XCR0 enables now
	vectorSize = int(b)
	xsetbv(xfeatureX87SSE) // until user mode is entered
}

// UserFeatures is XCR0 as user mode finds it. Known after InitMachine.
func UserFeatures() uint64 { return xcr0 }

// SaveVector makes VectorState complete if it can do so on this CPU, and answers whether it is; else go to VectorCPU and try again. For the goroutine that runs the context.
func (c *UserContext) SaveVector() bool { return atomic.LoadUint32(&c.live) == 0 || saveRest(c) }

// VectorCPU is the CPU that has some of the vector state in its registers, or -1.
func (c *UserContext) VectorCPU() int { return int(atomic.LoadUint32(&c.live)) - 1 }

// DropVector forgets what of the vector state is in a CPU's registers: the context will be given other state, or is freed.
func (c *UserContext) DropVector() {
	live := atomic.LoadUint32(&c.live)
	if live == 0 {
		return
	}
	area := (*cpu)(pointer(areas[live-1]))
	if atomic.CompareAndSwapUint64(&area.owner, uint64(uintptr(unsafe.Pointer(c))), 0) {
		atomic.StoreUint32(&c.live, 0)
		return
	}
	for atomic.LoadUint32(&c.live) != 0 { // that CPU is storing it
		Pause()
	}
}

// saveRest is defined in entry.s.
func saveRest(c *UserContext) (saved bool)

// VectorSize is the bytes of a vector save area, at most 3584. Known after InitMachine.
func VectorSize() int { return vectorSize }

// InitVector makes a zeroed area hold the initial state: x87 control word 0x37f, MXCSR 0x1f80.
func InitVector(area uintptr) {
	initVector(unsafe.Slice((*byte)(pointer(uint64(area))), vectorSize))
}

func initVector(b []byte) {
	clear(b)
	put16(b, 0, fcwInitial)
	put32(b, xsaveMXCSR, mxcsrInitial)
	put64(b, xsaveBV, xfeatureX87SSE)
}

// sanitizeVector copies an XSAVE image that a user may have written (signal frame, ptrace)
// so that XRSTOR accepts it: standard format, known components, no reserved MXCSR bits.
func sanitizeVector(dst, src []byte) bool {
	if len(src) < xsaveLegacy+xsaveHeaderSize {
		return false
	}
	mask := get32(dst, xsaveMXCSRMask) // what XSAVE wrote there: this CPU's MXCSR_MASK
	if mask == 0 {
		mask = mxcsrMask
	}
	n := copy(dst, src)
	clear(dst[n:])
	put32(dst, xsaveMXCSR, get32(dst, xsaveMXCSR)&mask)
	put32(dst, xsaveMXCSRMask, mask)
	bv := get64(dst, xsaveBV) & xcr0
	if n < len(dst) {
		bv &= xfeatureX87SSE
	}
	clear(dst[xsaveLegacy : xsaveLegacy+xsaveHeaderSize])
	put64(dst, xsaveBV, bv)
	return true
}

func put16(b []byte, i int, v uint16) { b[i], b[i+1] = byte(v), byte(v>>8) }

func put32(b []byte, i int, v uint32) {
	put16(b, i, uint16(v))
	put16(b, i+2, uint16(v>>16))
}

func put64(b []byte, i int, v uint64) {
	put32(b, i, uint32(v))
	put32(b, i+4, uint32(v>>32))
}

func get32(b []byte, i int) uint32 {
	return uint32(b[i]) | uint32(b[i+1])<<8 | uint32(b[i+2])<<16 | uint32(b[i+3])<<24
}

func get64(b []byte, i int) uint64 { return uint64(get32(b, i)) | uint64(get32(b, i+4))<<32 }
