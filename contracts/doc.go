// Package contracts runs the contract suite: small static programs whose output in Ringo must
// equal their output on Linux.
//
//	sources ──compile (cached)──► static programs ──► Linux (baseline) ──┐
//	                                             └──► Ringo ─────────────┴─► Judge ──► verdicts
//
// A Machine runs programs under the driver (driver/driver.c), which is process 1 and gives every program the
// same surroundings on both sides. Linux is this machine's own (or the hosted machine's); Ringo
// is a guest for each program, or one for many. Package vmm's command `vmm contracts` is the user's way in.
package contracts
