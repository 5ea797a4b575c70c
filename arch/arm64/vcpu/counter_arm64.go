package vcpu

// counterFrequency is CNTFRQ_EL0, which user space may read.
func counterFrequency() uint64

// zeroBlockID is DCZID_EL0, which user space may read.
func zeroBlockID() uint64
