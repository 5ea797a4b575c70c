//go:build amd64

package ring0

import "unsafe"

// Extended state components (XCR0 bits; Intel SDM volume 1, 13.1) that this kernel saves: x87, SSE, AVX,
// AVX-512 (opmask, ZMM_Hi256, Hi16_ZMM). AMX would not fit the area and is left off.
const (
	xfeatureX87SSE = 3
	xfeatureAVX    = 4
	xfeatureAVX512 = 0xe0

	xsaveLegacy     = 512 // bytes of the legacy area, then the header
	xsaveHeaderSize = 64
	xsaveMXCSR      = 24
	xsaveMXCSRMask  = 28
	xsaveBV         = 512
	xsaveCompBV     = 520
	mxcsrMask       = 0xffbf // without DAZ, which is added where the CPU has it
	fcwInitial      = 0x37f
	mxcsrInitial    = 0x1f80
)

var (
	xcr0       uint64 = xfeatureX87SSE
	vectorSize        = xsaveLegacy + xsaveHeaderSize
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
	enableVector()
	_, b, _, _ := cpuid(0xd, 0) // size for what XCR0 enables now
	vectorSize = int(b)
}

func enableVector() { xsetbv(xcr0) }

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
