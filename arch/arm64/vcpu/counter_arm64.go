package vcpu

// counterFrequency is CNTFRQ_EL0, which user space may read.
func counterFrequency() uint64
