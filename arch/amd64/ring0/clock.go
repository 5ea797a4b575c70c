//go:build amd64

package ring0

import "math/bits"

// clockState converts the TSC: ns since base = (tsc-base) * mult >> 32. Written once in Boot,
// read by clockGettime in lib.s on any CPU.
type clockState struct {
	base uint64
	mult uint64
	wall uint64 // ns since 1970 at base
	hz   uint64
}

var clock clockState

func initClock(hz uint64, wall int64) {
	clock.base = entryCounter
	clock.hz = hz
	clock.mult = 1_000_000_000 << 32 / hz
	clock.wall = uint64(wall)
}

// Counter is the time-stamp counter. Any context.
func Counter() uint64 { return rdtsc() }

// Nanotime is CLOCK_MONOTONIC: ns since the kernel's first instruction. Any context.
func Nanotime() int64 { return nanosAt(rdtsc()) }

func nanosAt(tsc uint64) int64 {
	if tsc < clock.base {
		return 0
	}
	hi, lo := bits.Mul64(tsc-clock.base, clock.mult)
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
	return clock.base, clock.mult, clock.wall, hasRDTSCP
}

// ClockFunc is the address for runtime.vdsoClockgettimeSym.
func ClockFunc() uintptr {
	_, _, _, pc := addresses()
	return uintptr(pc)
}
