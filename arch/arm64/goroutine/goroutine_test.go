//go:build arm64

package goroutine

import (
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

func word(addr uintptr) uintptr { return *(*uintptr)(*(*unsafe.Pointer)(unsafe.Pointer(&addr))) }

type frames struct {
	fp, at, saved uintptr
	ret           [3]uintptr
}

// inner looks at its own frames while they are there.
//
//go:noinline
func inner() (f frames) {
	f.fp = FP()
	f.at, f.saved = StackAtCall(f.fp, word), word(f.fp)
	fp := f.fp
	for i := range f.ret {
		f.ret[i], fp = word(fp+8), word(fp)
	}
	return f
}

//go:noinline
func outer() (f frames, mine uintptr) {
	f = inner()
	return f, FP()
}

// The frame pointers lead from a function to its callers, by name, and G's stack holds them.
func TestFramePointersLeadToCallers(t *testing.T) {
	f, mine := outer()
	if f.saved != mine {
		t.Errorf("the frame pointer that inner saved is %#x, outer's is %#x", f.saved, mine)
	}
	for i, want := range []string{"outer", "TestFramePointersLeadToCallers", "tRunner"} {
		if fn := runtime.FuncForPC(f.ret[i]); fn == nil || !strings.HasSuffix(fn.Name(), want) {
			t.Errorf("return address %d (%#x) is not in %s", i, f.ret[i], want)
		}
	}
	g := G()
	lo, hi := word(g), word(g+8)
	if f.fp < lo || f.fp >= hi || hi-lo > 1<<20 {
		t.Errorf("g %#x says stack [%#x, %#x), the frame pointer is %#x", g, lo, hi, f.fp)
	}
	if f.at <= f.fp || f.at > f.fp+1024 {
		t.Errorf("stack at the call of a function with frame pointer %#x: %#x", f.fp, f.at)
	}
}
