// Package ring0 is the CPU as the kernel sees it, for arm64: Arm ARM DDI 0487, GICv3, PSCI over HVC.
// The API, its words and its rules are those of ringo/arch/amd64/ring0, where they are written down once;
// this comment has what is particular to arm64.
//
// # Exception levels and stacks
//
// Kernel Go code runs at EL1t: EL1 on SP_EL0. Handlers, and nothing else, run at EL1h on SP_EL1, which
// is this CPU's nucleus stack and empty whenever a thread runs. So every exception finds a good
// stack, whatever the interrupted code did with its own, nothing is ever pushed on a Go stack
// (runtime.clone keeps arguments below SP), and the vector table itself tells the three sources apart: EL1t =
// a runtime thread, EL1h = the nucleus (an error), EL0 = user mode. SP_EL0 belongs to whoever runs: the
// goroutine's stack pointer is in the area while user mode runs.
//
// SVC from EL1t is a system call of the Go runtime; from EL0 it is one of the user.
//
// # Registers
//
//   - TPIDR_EL1: this CPU's area. TPIDR_EL0: the user's, always; Go without cgo does not use it.
//   - x18: Go keeps nothing in it, so traps from EL1t use it as their first free register. The user owns it.
//   - x28: g. In handlers it points at a g of the area that has stack bounds and nothing else.
//   - q0 to q31, FPSR, FPCR: saved whenever other code may run, except for a system call of kernel Go code, at which
//     Go's calling convention has no vector register alive. The kernel's FPCR is 0.
//   - PSTATE.PAN is set in the kernel: it cannot touch user memory by accident.
//
// # Address spaces
//
// Everything is in TTBR0_EL1: user mappings (non-global) below 2^47, kernel mappings (EL1 only)
// above. Each CPU gives the roots it enters ASIDs of its own, see memory.go. Invalidations are broadcast by the
// hardware (TLBI ...IS): a shootdown needs no interrupt.
//
// # Build
//
// What needs the CPU is in files constrained to arm64. Layouts and decoders compile everywhere, for
// their tests and for debuggers of arm64 guests.
package ring0
