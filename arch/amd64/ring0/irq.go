//go:build amd64

package ring0

import "ringo/internal/bootinfo"

// x2APIC registers as MSRs (Intel SDM volume 3, 11.12.1.2).
const (
	msrAPICBase    = 0x1b
	msrX2ID        = 0x802
	msrX2TPR       = 0x808
	msrX2EOI       = 0x80b
	msrX2SVR       = 0x80f
	msrX2ICR       = 0x830
	msrX2LVTTimer  = 0x832
	msrX2LVTLINT0  = 0x835
	msrX2LVTLINT1  = 0x836
	msrX2LVTError  = 0x837
	msrX2InitCount = 0x838
	msrX2Divide    = 0x83e
	msrTSCDeadline = 0x6e0

	apicBaseX2     = 1<<11 | 1<<10 // enable, x2APIC mode
	svrEnable      = 1 << 8
	lvtMasked      = 1 << 16
	lvtTSCDeadline = 2 << 17
	divideBy1      = 0xb
	icrFixed       = 0 << 8
)

// The I/O APIC: an index and a data register (82093AA datasheet, 3.0).
const (
	ioapicSelect   = 0x00
	ioapicWindow   = 0x10
	ioapicRedir    = 0x10 // redirection table, two registers a pin
	ioapicPins     = 24
	redirMasked    = 1 << 16
	redirDestShift = 24
)

var (
	ioapic      uint64 // GVA, 0: none
	apicIDs     [maxCPUs]uint64
	tscDeadline bool
)

// IOAPICSize is the bytes of device memory that Boot maps at info.IOAPIC in the direct map.
func initIOAPIC(info *bootinfo.Info) {
	if info.IOAPIC != 0 {
		ioapic = info.DirectMap + info.IOAPIC
	}
	_, _, c, _ := cpuid(1, 0)
	tscDeadline = c&(1<<24) != 0
}

// DeviceRange is page n of device memory that the architecture itself needs in the direct map.
func DeviceRange(info *bootinfo.Info, n int) (gpa, size uint64, ok bool) {
	if n == 0 && info.IOAPIC != 0 {
		return info.IOAPIC &^ (pageSize - 1), pageSize, true
	}
	return 0, 0, false
}

// startAPIC sets up this CPU's local APIC.
func startAPIC(c *cpu) {
	wrmsr(msrAPICBase, rdmsr(msrAPICBase)|apicBaseX2)
	c.apicID = rdmsr(msrX2ID)
	publish(&apicIDs[c.index], c.apicID)
	wrmsr(msrX2LVTLINT0, lvtMasked)
	wrmsr(msrX2LVTLINT1, lvtMasked)
	wrmsr(msrX2LVTError, lvtMasked)
	wrmsr(msrX2TPR, 0)
	wrmsr(msrX2SVR, svrEnable|vectorSpurious)
	if tscDeadline {
		wrmsr(msrX2LVTTimer, lvtTSCDeadline|vectorTimer)
	} else {
		wrmsr(msrX2Divide, divideBy1)
		wrmsr(msrX2LVTTimer, vectorTimer)
	}
	// The I/O APIC's pins are masked after reset (82093AA, 3.2.4); writing them all would cost 48 exits.
}

// SetDeadline arms this CPU's timer interrupt for a counter value; 0 disarms. A value in the
// past interrupts at once.
func SetDeadline(counter uint64) {
	if tscDeadline {
		wrmsr(msrTSCDeadline, counter)
		return
	}
	// One-shot timer: KVM's APIC bus runs at 1 GHz (ns).
	count := uint64(0)
	if counter != 0 {
		count = 1
		if now := rdtsc(); counter > now {
			count = min(max(uint64(nanosAt(counter)-nanosAt(now)), 1), 1<<32-1)
		}
	}
	wrmsr(msrX2InitCount, count)
}

// SendIPI interrupts another CPU with SourceIPI.
func SendIPI(cpu int) {
	wrmsr(msrX2ICR, apicIDs[cpu]<<32|icrFixed|vectorIPI)
}

// acknowledge ends the interrupt at the local APIC and says what it was.
func acknowledge(vector uint64) (source uint64) {
	switch {
	case vector == vectorTimer:
		source = SourceTimer
	case vector == vectorIPI:
		source = SourceIPI
	case vector >= vectorLine && vector < vectorLine+ioapicPins:
		source = SourceLine + vector - vectorLine
	default: // spurious interrupts have no EOI
		return SourceSpurious
	}
	wrmsr(msrX2EOI, 0)
	return source
}

// EnableLine routes an edge-triggered device line (I/O APIC pin) to a CPU. It reports whether
// there is such a line.
func EnableLine(line uint32, cpu int) bool {
	if ioapic == 0 || line >= ioapicPins {
		return false
	}
	ioapicWrite(ioapicRedir+2*line+1, uint32(apicIDs[cpu])<<redirDestShift)
	ioapicWrite(ioapicRedir+2*line, vectorLine+line)
	return true
}

// DisableLine masks it.
func DisableLine(line uint32) {
	if ioapic != 0 && line < ioapicPins {
		ioapicWrite(ioapicRedir+2*line, redirMasked)
	}
}

func ioapicWrite(register, v uint32) {
	MMIOWrite32(ioapic+ioapicSelect, register)
	MMIOWrite32(ioapic+ioapicWindow, v)
}
