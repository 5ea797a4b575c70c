package vcpu

// WasReset reports whether these are the registers of a vCPU after reset: some hosts (KVM on
// AMD processors) reset a vCPU at a triple fault, because the processor leaves its state
// undefined (arch/x86/kvm/svm/svm.c, shutdown_interception).
func (r *Registers) WasReset() bool {
	return r.General.RIP == 0xfff0 && r.System.CR0&cr0PE == 0
}
