package report

import (
	"errors"
	"fmt"
	"syscall"

	"ringo/internal/kvm"
	"ringo/internal/pagetable"
)

// advice is the most likely meaning of what the report shows, and what to do next.
func (in *Input) advice() string {
	switch in.Cause {
	case CausePanic:
		return "the kernel's own message is in its log; the stacks here are of the power-off behind it."
	case CauseHang:
		return "run it again with -v, and compare where the vCPUs stand in two such reports: the same place in both is a loop or a lost wake-up."
	}
	var c *CPU
	for i := range in.CPUs {
		if in.CPUs[i].ID == in.VCPU {
			c = &in.CPUs[i]
		}
	}
	if c == nil || c.Registers == nil {
		return "KVM does not tell the registers any more, so only the exits are left to go by: run it again with -v."
	}
	r := c.Registers
	mapped := func(gva uint64) bool { return c.Walk(gva).Result == pagetable.WalkMapped }
	if in.Cause == CauseEarly {
		return fmt.Sprintf("the kernel has no exception vectors yet, so this is in its entry code: check where %s got its address from.", in.name(r.PC()))
	}
	switch {
	case r.WasReset():
		return "the state of the vCPU is lost, so look at what the kernel's memory says of it, at the kernel's log (-v) and at the other vCPUs. A kernel whose double-fault handler has a stack of its own (IST) reports such faults itself: this one came before that was set up, or destroyed it."
	case errors.Is(in.Err, syscall.ENOSYS):
		return "the instruction at pc accesses an address that is neither RAM nor a device in a way the processor does not describe (a pair, a vector, or with write-back): find out where it got its address from."
	case errors.Is(in.Err, syscall.EFAULT):
		return "KVM could not access guest memory for the instruction at pc: its page is protected in the monitor, or the host is out of memory."
	}
	switch in.Reason {
	case kvm.ReasonInternalError:
		return "KVM could not emulate the instruction at pc: `vmm doctor` says whether this host can run a kernel at all; if it can, the instruction touches memory that is neither RAM nor a device."
	case kvm.ReasonFailEntry:
		return "the host's processor refuses the vCPU's state: `vmm doctor` says whether this host can run guests; nested hosts often cannot."
	case kvm.ReasonMMIO, kvm.ReasonARMNISV, kvm.ReasonMemoryFault:
		return fmt.Sprintf("nothing is at GPA %#x (docs/architecture.md has the memory map): the instruction at pc used a wrong address, or a mapping leads to a wrong frame.", in.Addr)
	case kvm.ReasonIO:
		return "no device has this I/O port (docs/architecture.md lists them)."
	case kvm.ReasonDebug, kvm.ReasonException:
		return "nobody asked for this debug event: the guest set its debug registers, or a debugger went away."
	}
	switch {
	case r.PC() < 0x1000:
		return "the CPU jumped through a nil function or returned to address 0: the stack it returned from was overwritten, or never filled. Look at the words on the stack, and who else may write there."
	case !mapped(r.PC()):
		return "the CPU executes where nothing is mapped: a damaged return address or function pointer. The last frame that has a name made the jump."
	case !mapped(r.SP()) || !mapped(r.SP()-8):
		return "the stack pointer is at or outside the end of its mapping: a stack overflow into the guard page, or a stack that was freed. Exceptions need a stack too, hence this end."
	case !mapped(r.FaultAddress()):
		return "the fault address is not mapped, and the exception for it could not be delivered: look at the descriptor tables (idt, gdt, tr; vbar on arm64) in the registers, and whether they are mapped."
	}
	return "an exception could not be delivered: look at the descriptor tables in the registers (idt, gdt, tr; vbar on arm64), and run it again with -v for the kernel's log."
}
