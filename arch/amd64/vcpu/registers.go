package vcpu

import (
	"encoding/binary"
	"fmt"
	"strings"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"ringo/internal/kvm"
)

// Registers is a vCPU's state for reports. Addresses are GVAs.
type Registers struct {
	General gokvm.Regs
	System  gokvm.Sregs
	// DR6 and DR7 are the guest's debug status and control.
	DR6, DR7 uint64
}

// Registers reads the state of a vCPU that is not running.
func (v *VCPU) Registers() (*Registers, error) {
	r := new(Registers)
	if _, err := kvm.Ioctl(v.FD(), kvm.R[gokvm.Regs](nrGetRegs), &r.General); err != nil {
		return nil, fmt.Errorf("vCPU %d: KVM_GET_REGS: %w", v.ID, err)
	}
	if _, err := kvm.Ioctl(v.FD(), kvm.R[gokvm.Sregs](nrGetSregs), &r.System); err != nil {
		return nil, fmt.Errorf("vCPU %d: KVM_GET_SREGS: %w", v.ID, err)
	}
	var d gokvm.DebugRegs
	if _, err := kvm.Ioctl(v.FD(), kvm.R[gokvm.DebugRegs](nrGetDebugRegs), &d); err == nil {
		r.DR6, r.DR7 = d.DR6, d.DR7
	}
	return r, nil
}

// SetRegisters changes the general and system registers of a vCPU that is not running to r. Only what differs is
// written: KVM drops a pending exception whenever the general registers are set.
func (v *VCPU) SetRegisters(r *Registers) error {
	now, err := v.Registers()
	if err != nil {
		return err
	}
	if now.General != r.General {
		if _, err := kvm.Ioctl(v.FD(), kvm.W[gokvm.Regs](nrSetRegs), &r.General); err != nil {
			return fmt.Errorf("vCPU %d: KVM_SET_REGS: %w", v.ID, err)
		}
	}
	if now.System != r.System {
		if _, err := kvm.Ioctl(v.FD(), kvm.W[gokvm.Sregs](nrSetSregs), &r.System); err != nil {
			return fmt.Errorf("vCPU %d: KVM_SET_SREGS: %w", v.ID, err)
		}
	}
	return nil
}

// PC is the instruction pointer.
func (r *Registers) PC() uint64 { return r.General.RIP }

// SetPC changes the instruction pointer in r.
func (r *Registers) SetPC(pc uint64) { r.General.RIP = pc }

// SP is the stack pointer.
func (r *Registers) SP() uint64 { return r.General.RSP }

// FP is the frame pointer of the Go calling convention.
func (r *Registers) FP() uint64 { return r.General.RBP }

// Link is the return address of a leaf function: amd64 keeps it on the stack, so 0.
func (r *Registers) Link() uint64 { return 0 }

// Goroutine is the register that holds g in Go code.
func (r *Registers) Goroutine() uint64 { return r.General.R14 }

// FaultAddress is the address of the last page fault.
func (r *Registers) FaultAddress() uint64 { return r.System.CR2 }

// Root is the GPA of the page tables that translate gva.
func (r *Registers) Root(gva uint64) uint64 { return r.System.CR3 &^ 0xfff }

// User says whether the vCPU was in user mode.
func (r *Registers) User() bool { return r.System.CS.Selector&3 == 3 }

// String is a block of lines.
func (r *Registers) String() string {
	g, s := &r.General, &r.System
	var b strings.Builder
	fmt.Fprintf(&b, "rip %016x  rflags %08x %s  ring %d\n", g.RIP, g.RFLAGS, flagNames(g.RFLAGS), s.CS.Selector&3)
	fmt.Fprintf(&b, "rax %016x  rbx %016x  rcx %016x  rdx %016x\n", g.RAX, g.RBX, g.RCX, g.RDX)
	fmt.Fprintf(&b, "rsi %016x  rdi %016x  rbp %016x  rsp %016x\n", g.RSI, g.RDI, g.RBP, g.RSP)
	fmt.Fprintf(&b, "r8  %016x  r9  %016x  r10 %016x  r11 %016x\n", g.R8, g.R9, g.R10, g.R11)
	fmt.Fprintf(&b, "r12 %016x  r13 %016x  r14 %016x  r15 %016x\n", g.R12, g.R13, g.R14, g.R15)
	fmt.Fprintf(&b, "cr0 %08x  cr2 %016x  cr3 %016x  cr4 %08x  cr8 %x  efer %04x\n", s.CR0, s.CR2, s.CR3, s.CR4, s.CR8, s.EFER)
	fmt.Fprintf(&b, "cs  %04x  ss  %04x  ds  %04x  es  %04x  fs  %04x base %016x  gs  %04x base %016x\n", s.CS.Selector, s.SS.Selector, s.DS.Selector, s.ES.Selector, s.FS.Selector, s.FS.Base, s.GS.Selector, s.GS.Base)
	fmt.Fprintf(&b, "gdt %016x+%04x  idt %016x+%04x  tr %04x base %016x  apic %08x  dr6 %08x  dr7 %08x", s.GDT.Base, s.GDT.Limit, s.IDT.Base, s.IDT.Limit, s.TR.Selector, s.TR.Base, s.ApicBase, r.DR6, r.DR7)
	return b.String()
}

func flagNames(f uint64) string {
	var names []string
	for _, n := range []struct {
		bit  uint
		name string
	}{{0, "CF"}, {2, "PF"}, {4, "AF"}, {6, "ZF"}, {7, "SF"}, {8, "TF"}, {9, "IF"}, {10, "DF"}, {11, "OF"}, {14, "NT"}, {16, "RF"}, {18, "AC"}} {
		if f>>n.bit&1 != 0 {
			names = append(names, n.name)
		}
	}
	return "[" + strings.Join(names, " ") + "]"
}

// DescribeDebug decodes the architecture's part of a debug exit.
func DescribeDebug(x *kvm.Exit) string {
	u := x.Raw
	return fmt.Sprintf("DEBUG exception %d at PC %#x, dr6 %#x, dr7 %#x", binary.LittleEndian.Uint32(u),
		binary.LittleEndian.Uint64(u[8:]), binary.LittleEndian.Uint64(u[16:]), binary.LittleEndian.Uint64(u[24:]))
}
