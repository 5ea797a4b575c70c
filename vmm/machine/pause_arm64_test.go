package machine_test

import "ringo/vmm/machine"

// loadedValue is the register that probe.load fills.
func loadedValue(r *machine.Registers) uint32 { return uint32(r.X[5]) }
