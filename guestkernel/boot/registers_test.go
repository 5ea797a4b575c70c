package boot

import (
	"reflect"
	"testing"

	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
)

// Signal frames work on the CPU's registers in place: the ABI's layout must be the beginning of ring0's.
func TestRegistersHaveOneLayout(t *testing.T) {
	abi, cpu := reflect.TypeFor[task.Regs](), reflect.TypeFor[nucleus.Regs]()
	for i := range abi.NumField() {
		a, c := abi.Field(i), cpu.Field(i)
		same := a.Name == c.Name || a.Name == "IP" && c.Name == "PC"
		if !same || a.Offset != c.Offset || a.Type != c.Type {
			t.Errorf("field %d: %s at %d in the ABI, %s at %d in ring0", i, a.Name, a.Offset, c.Name, c.Offset)
		}
	}
}
