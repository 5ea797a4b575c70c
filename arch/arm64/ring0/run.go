//go:build arm64

package ring0

import "sync/atomic"

// EnterUser enters user mode with c and returns when user mode stops: true for a system call, else Left says why. The goroutine's thread may
// be preempted meanwhile and come back on another CPU.
func EnterUser(c *UserContext) (syscall bool) {
	c.regs.PState &= pstateUserMask
	c.regs.Nr = ^uint64(0)
	if !enterUser(c) {
		c.syndrome = syndromeInterrupt
		return false
	}
	if c.syndrome>>26&0x3f != ecSVC64 {
		return false
	}
	c.regs.OrigX0 = c.regs.X[0]
	c.regs.Nr = c.regs.X[8]
	return true
}

// Left says why EnterUser, which has answered false, came back.
func Left(c *UserContext) Event {
	if c.syndrome == syndromeInterrupt {
		// The caller looks at what is pending after this return, so a kick up to here is served.
		atomic.StoreUint32(&c.kick, 0)
		return Event{Kind: EventInterrupt, User: true, Addr: c.regs.PC}
	}
	if c.syndrome == syndromeElsewhere {
		atomic.StoreUint32(&c.kick, 0)
		return Event{Kind: EventElsewhere, User: true, Addr: c.regs.PC}
	}
	e := classify(c.syndrome, c.fault, c.regs.PC)
	e.User = true
	return e
}

// InitUserContext makes a zeroed page of 4096 bytes outside the Go heap a context: all registers zero,
// vector state initial, kernel root.
func InitUserContext(page uintptr) *UserContext {
	c := (*UserContext)(pointer(uint64(page)))
	c.root, c.allowed = kernelRoot, ^uint64(0)
	c.Reset(0, 0)
	return c
}
