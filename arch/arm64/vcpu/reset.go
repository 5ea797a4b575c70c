package vcpu

// WasReset is for amd64: there is no triple fault on arm64.
func (r *Registers) WasReset() bool { return false }
