package trace

import "ringo/arch/amd64/goroutine"

const spillSize = goroutine.SpillSize

func currentG() uintptr              { return goroutine.G() }
func framePointer() uintptr          { return goroutine.FP() } // inlined, or the answer would be its own
func stackAtCall(fp uintptr) uintptr { return goroutine.StackAtCall(fp, word) }
