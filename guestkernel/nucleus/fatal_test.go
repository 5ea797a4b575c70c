package nucleus

import (
	"reflect"
	"runtime"
	"testing"
)

// TestSymbolAgreesWithTheRuntime guards the layout of runtime.moduledata, which symbol reads
// behind the runtime's back: a new Go version may move it.
func TestSymbolAgreesWithTheRuntime(t *testing.T) {
	for _, f := range []any{TestSymbolAgreesWithTheRuntime, symbol, (*scheduler).futexWake, handleSyscall, runtime.GC} {
		pc := reflect.ValueOf(f).Pointer()
		want := runtime.FuncForPC(pc).Name()
		if got := symbol(pc); got != want {
			t.Errorf("symbol(%#x) = %q, the runtime says %q", pc, got, want)
		}
		if got := symbol(pc + 1); got != want {
			t.Errorf("inside the function: %q, want %q", got, want)
		}
	}
	for _, pc := range []uintptr{0, 1, ^uintptr(0), lastmoduledatap.text - 1, lastmoduledatap.etext} {
		if got := symbol(pc); got != "" {
			t.Errorf("symbol(%#x) = %q, which is not code", pc, got)
		}
	}
}
