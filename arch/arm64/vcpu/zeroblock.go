package vcpu

import "ringo/internal/store"

// StoreEnvironment is what the decoder of accesses needs to know of the vCPUs: the guest sees the host's DCZID_EL0, whose
// lowest bits are the logarithm of the block in words of 4 bytes.
func (vm *VM) StoreEnvironment() store.Environment {
	id := zeroBlockID()
	if id&prohibited != 0 {
		return store.Environment{}
	}
	return store.Environment{ZeroBlock: 4 << (id & 0xf)}
}

// prohibited is DCZID_EL0.DZP.
const prohibited = 1 << 4
