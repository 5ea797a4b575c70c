//go:build arm64

package ring0

import "math/bits"

// clockState converts CNTVCT_EL0: ns since base = (count-base) * mult >> 32. Written once in
// Boot, read by clockGettime in lib.s on any CPU.
type clockState struct {
	base uint64
	mult uint64
	wall uint64 // ns since 1970 at base
	hz   uint64
}

var clock clockState

// initClock: CNTFRQ_EL0 says what firmware wrote there, so the monitor's figure is used. A
// counter slower than 1 Hz cannot be converted; bootinfo.Check refuses 0.
func initClock(hz uint64, wall int64) {
	const second = 1_000_000_000
	clock.base = entryCounter
	clock.hz = hz
	hi, lo := uint64(second>>32), uint64(second<<32&(1<<64-1))
	if hi >= hz {
		hi = hz - 1
	}
	clock.mult, _ = bits.Div64(hi, lo, hz)
	clock.wall = uint64(wall)
}

// Counter is CNTVCT_EL0. Any context.
func Counter() uint64 { return counter() }

// Nanotime is CLOCK_MONOTONIC: ns since the kernel's first instruction. Any context.
func Nanotime() int64 { return nanosAt(counter()) }

func nanosAt(count uint64) int64 {
	if count < clock.base {
		return 0
	}
	hi, lo := bits.Mul64(count-clock.base, clock.mult)
	return int64(hi<<32 | lo>>32)
}

// WallOffset added to Nanotime is CLOCK_REALTIME. Any context.
func WallOffset() int64 { return int64(clock.wall) }

// CounterAt is the counter value at a Nanotime.
func CounterAt(ns int64) uint64 {
	if ns < 0 {
		ns = 0
	}
	hi, lo := bits.Mul64(uint64(ns), clock.hz)
	if hi >= 1_000_000_000 {
		return 1<<64 - 1
	}
	q, _ := bits.Div64(hi, lo, 1_000_000_000)
	return clock.base + q
}

// ClockFactors are what the vDSO needs to do as Nanotime does: ns = (counter - base) * mult >> 32, and wall is the ns from 1970 to base. cpuNumber says
// that user mode can read the number of its CPU. After the boot; any context.
func ClockFactors() (base, mult, wall uint64, cpuNumber bool) {
	return clock.base, clock.mult, clock.wall, false
}

// ClockFunc is the address for runtime.vdsoClockgettimeSym.
func ClockFunc() uintptr {
	_, pc := addresses()
	return uintptr(pc)
}
