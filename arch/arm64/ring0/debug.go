//go:build arm64

package ring0

import (
	"unsafe"

	"ringo/internal/debugwindow"
)

// doorbell is the GVA at which the monitor's debugger listens, 0: nowhere.
var doorbell uint64

// Doorbell tells the debugger something (internal/debugwindow) and returns when it has been
// served. Any goroutine.
func Doorbell(value uint32) {
	if doorbell != 0 {
		MMIOWrite32(doorbell, value)
	}
}

// DescribeArea fills in what a debugger wants to know of CPU index's area. Any goroutine.
func DescribeArea(index int, d *debugwindow.CPU) {
	area := areas[index]
	va := area - areaStruct
	d.Index, d.Area = uint32(index), area
	d.ThreadAt, d.UserAt = area+uint64(unsafe.Offsetof(cpu{}.thread)), area+uint64(unsafe.Offsetof(cpu{}.user))
	d.Stacks = [4]debugwindow.Stack{
		{Kind: debugwindow.StackNucleus, Lo: va + areaStackTop - areaStackPages*pageSize, Hi: va + areaStackTop},
		{Kind: debugwindow.StackFatal, Lo: va + pageSize, Hi: va + areaFatalTop},
	}
}

// DescribeContext fills in the offsets of registers in a Context. Any goroutine.
func DescribeContext(t *debugwindow.ThreadTable) {
	var c Context
	t.PC, t.SP = uint32(unsafe.Offsetof(c.Frame.ELR)), uint32(unsafe.Offsetof(c.Frame.SP))
	t.FP, t.G = 8*29, 8*28
	t.TLS = uint32(unsafe.Offsetof(c.TLS))
}

// Address is the GVA of the context. Any goroutine.
func (c *UserContext) Address() uint64 { return uint64(uintptr(unsafe.Pointer(c))) }
