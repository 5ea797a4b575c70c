package doctor

import (
	"context"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// tryEBPF loads a program that returns 0 and attaches it, for a moment, to KVM's exit
// tracepoint.
func tryEBPF(context.Context) (string, error) {
	// Kernels before 5.11 charge programs to the memory-lock limit. Where it cannot be raised, the
	// kernel's own refusal is the answer. (ebpf/rlimit would do this, but probes the kernel whenever
	// the process starts: 2 ms of every boot.)
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
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
