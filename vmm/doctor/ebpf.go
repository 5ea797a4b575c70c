package doctor

import (
	"context"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// tryEBPF loads a program that returns 0 and attaches it, for a moment, to KVM's exit
// tracepoint.
func tryEBPF(context.Context) (string, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return "", fmt.Errorf("memory-lock limit: %w", err)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "ringo_probe", Type: ebpf.TracePoint, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return "", fmt.Errorf("load a program: %w", err)
	}
	defer program.Close()
	attached, err := link.Tracepoint("kvm", "kvm_exit", program, nil)
	if err != nil {
		return "", err
	}
	if err := attached.Close(); err != nil {
		return "", fmt.Errorf("detach: %w", err)
	}
	return "loaded and attached", nil
}
