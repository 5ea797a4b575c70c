package contracts

import (
	amd64 "ringo/arch/amd64/abi"
	arm64 "ringo/arch/arm64/abi"
)

// SyscallNumbers are the system calls of an architecture by name. Both tables are needed: an amd64 host reads the traces of
// arm64 guests.
func SyscallNumbers(arch string) map[string]int {
	return map[string]map[string]int{"amd64": amd64.SyscallNumbers, "arm64": arm64.SyscallNumbers}[arch]
}
