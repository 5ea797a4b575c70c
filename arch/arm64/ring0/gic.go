//go:build arm64

package ring0

import (
	"sync/atomic"

	"ringo/internal/bootinfo"
)

// GICv3 distributor and redistributor registers (Arm IHI 0069, 12.9 and 12.11).
const (
	gicdSize       = 0x1_0000
	gicdCTLR       = 0x0000
	gicdTYPER      = 0x0004
	gicdIGROUPR    = 0x0080
	gicdISENABLER  = 0x0100
	gicdICENABLER  = 0x0180
	gicdIPRIORITYR = 0x0400
	gicdICFGR      = 0x0c00
	gicdIROUTER    = 0x6000

	ctlrEnableGroup1 = 1 << 1
	ctlrAffinity     = 1 << 4

	gicrSize       = 0x2_0000 // two frames of 64 KiB a CPU
	gicrTYPER      = 0x0008
	gicrWAKER      = 0x0014
	gicrSGI        = 0x1_0000 // second frame: SGIs and PPIs
	typerLast      = 1 << 4
	wakerSleep     = 1 << 1
	wakerAsleep    = 1 << 2
	priorityAll    = 0xa0a0_a0a0
	intidSGI       = 0 // our IPI
	intidSPI       = 32
	intidSpecial   = 1020
	affinityMask   = 0xff_00ff_ffff // Aff3, Aff2, Aff1, Aff0 in MPIDR_EL1
	sgiTargetAff0  = 0xf
	wakeUpAttempts = 1 << 20
)

var (
	gicd       uint64 // GVA
	gicr       uint64 // GVA of the first redistributor
	gicLines   uint32 // INTIDs the distributor has
	timerINTID uint64 = 27
	affinities [maxCPUs]uint64
)

// DeviceRange is page n of device memory that the architecture itself needs in the direct map.
func DeviceRange(info *bootinfo.Info, n int) (gpa, size uint64, ok bool) {
	switch n {
	case 0:
		return info.GICD, gicdSize, true
	case 1:
		return info.GICR, uint64(info.CPUs) * gicrSize, true
	case 2:
		return info.UART &^ (pageSize - 1), pageSize, true
	case 3:
		return info.Doorbell &^ (pageSize - 1), pageSize, info.Doorbell != 0
	}
	return 0, 0, false
}

// initGIC sets up the distributor, in Boot: affinity routing, group 1, every SPI masked.
func initGIC(info *bootinfo.Info) {
	gicd = info.DirectMap + info.GICD
	gicr = info.DirectMap + info.GICR
	if info.TimerIRQ != 0 {
		timerINTID = uint64(info.TimerIRQ)
	}
	gicLines = min((MMIORead32(gicd+gicdTYPER)&0x1f+1)*32, intidSpecial)
	MMIOWrite32(gicd+gicdCTLR, ctlrAffinity|ctlrEnableGroup1)
	for n := uint64(intidSPI); n < uint64(gicLines); n += 32 {
		MMIOWrite32(gicd+gicdICENABLER+n/8, 1<<32-1)
		MMIOWrite32(gicd+gicdIGROUPR+n/8, 1<<32-1)
	}
}

// startGIC sets up this CPU's redistributor and CPU interface: the IPI and the timer.
func startGIC(index int) {
	aff := affinity() & affinityMask
	atomic.StoreUint64(&affinities[index], aff)
	frame := gicr
	for range maxCPUs {
		if MMIORead32(frame+gicrTYPER+4) == uint32(aff>>32<<24|aff&0xff_ffff) || MMIORead32(frame+gicrTYPER)&typerLast != 0 {
			break
		}
		frame += gicrSize
	}
	MMIOWrite32(frame+gicrWAKER, MMIORead32(frame+gicrWAKER)&^wakerSleep)
	for range wakeUpAttempts {
		if MMIORead32(frame+gicrWAKER)&wakerAsleep == 0 {
			break
		}
	}
	sgi := frame + gicrSGI
	for n := uint64(0); n < 32; n += 4 {
		MMIOWrite32(sgi+gicdIPRIORITYR+n, priorityAll)
	}
	MMIOWrite32(sgi+gicdIGROUPR, 1<<32-1)
	MMIOWrite32(sgi+gicdICENABLER, 1<<32-1)
	MMIOWrite32(sgi+gicdISENABLER, 1<<intidSGI|1<<timerINTID)
	enableCPUInterface()
}

// SetDeadline arms this CPU's timer interrupt for a counter value; 0 disarms. A value in the
// past interrupts at once.
func SetDeadline(counter uint64) {
	if counter == 0 {
		stopTimer()
		return
	}
	setTimer(counter)
}

// SendIPI interrupts another CPU with SourceIPI (ICC_SGI1R_EL1, IHI 0069 12.2.20).
func SendIPI(cpu int) {
	aff := atomic.LoadUint64(&affinities[cpu])
	aff0 := aff & 0xff
	writeSGI1R(aff>>32&0xff<<48 | aff0>>4<<44 | aff>>16&0xff<<32 | intidSGI<<24 | aff>>8&0xff<<16 | 1<<(aff0&sgiTargetAff0))
}

// acknowledge takes the pending interrupt, ends it and says what it was. The timer's line is a
// level: it is silenced before the end of interrupt.
func acknowledge() (source uint64) {
	intid := readIAR() & 0xff_ffff
	switch {
	case intid == timerINTID:
		stopTimer()
		source = SourceTimer
	case intid < 16:
		source = SourceIPI
	case intid >= intidSpecial: // nothing pending; it has no end
		return SourceSpurious
	default:
		source = SourceLine + intid
	}
	writeEOIR(intid)
	return source
}

// EnableLine routes an edge-triggered device line (an SPI's INTID) to a CPU. It reports whether
// there is such a line.
func EnableLine(line uint32, cpu int) bool {
	if line < intidSPI || line >= gicLines {
		return false
	}
	n := uint64(line)
	config := gicd + gicdICFGR + n/16*4
	MMIOWrite32(config, MMIORead32(config)|2<<(n%16*2))
	priority := gicd + gicdIPRIORITYR + n&^3
	MMIOWrite32(priority, MMIORead32(priority)&^(0xff<<(n%4*8))|0xa0<<(n%4*8))
	mmioWrite64(gicd+gicdIROUTER+n*8, atomic.LoadUint64(&affinities[cpu]))
	MMIOWrite32(gicd+gicdISENABLER+n/32*4, 1<<(n%32))
	return true
}

// DisableLine masks it.
func DisableLine(line uint32) {
	if line >= intidSPI && line < gicLines {
		MMIOWrite32(gicd+gicdICENABLER+uint64(line)/32*4, 1<<(line%32))
	}
}
