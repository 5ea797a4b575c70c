//go:build !arm64

package vcpu

// counterFrequency is unknown on a host that cannot run arm64 guests anyway.
func counterFrequency() uint64 { return 0 }

// zeroBlockID is unknown there too.
func zeroBlockID() uint64 { return prohibited }
