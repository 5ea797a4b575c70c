package nucleus

import "ringo/internal/tracewindow"

// tracing is the flight recorder; off unless the command line has debug=htrace. Static data: the handlers write to it.
var tracing tracewindow.Rings

// Rings is the flight recorder, nil when it is off. Any goroutine.
func Rings() *tracewindow.Rings {
	if !tracing.On() {
		return nil
	}
	return &tracing
}

// bootTrace starts the flight recorder. In boot, on the kernel's page tables.
func bootTrace() {
	w := &k.info.Trace
	if w.Size == 0 || !debugWord("htrace") {
		return
	}
	r, _ := k.frames.find(w.Base)
	last, _ := k.frames.find(w.Base + w.Size - 1)
	if r == nil || r != last {
		return
	}
	h := tracewindow.Header{
		Machine: machineNumber, CounterHz: k.info.CounterHz, KernelVirt: k.info.KernelVirt, KernelSize: k.info.KernelSize,
		Started: counter(), WallClock: k.info.WallClock + nanotime(),
	}
	tracing.Init(uintptr(directMap+w.Base), w.Size, int(k.info.CPUs), &h)
}

// debugWord looks for a word in debug=A,B,... on the command line.
func debugWord(word string) bool {
	line := memory(uintptr(directMap+k.info.CommandLine), int(k.info.CommandLineSize))
	const key = "debug="
	for i := 0; i+len(key) <= len(line); i++ {
		if i > 0 && line[i-1] != ' ' || !sameBytes(line[i:], key) {
			continue
		}
		for j := i + len(key); ; {
			rest := line[j:]
			if sameBytes(rest, word) && (len(rest) == len(word) || rest[len(word)] == ',' || rest[len(word)] == ' ') {
				return true
			}
			for j < len(line) && line[j] != ',' && line[j] != ' ' {
				j++
			}
			if j == len(line) || line[j] == ' ' {
				break
			}
			j++
		}
	}
	return false
}

// sameBytes says whether b starts with s.
func sameBytes(b []byte, s string) bool {
	if len(b) < len(s) {
		return false
	}
	for i := range len(s) {
		if b[i] != s[i] {
			return false
		}
	}
	return true
}

// traceEvent records something of the nucleus. Only if tracing is on.
func traceEvent(kind tracewindow.Kind, code uint16, a0, a1, a2, a3 uint64) {
	tracing.Emit(thisCPU(), counter(), kind, code, 0, a0, a1, a2, a3)
}

// traceFrame records an allocation or release that a goroutine asked for: by whom, from its frame pointers.
func traceFrame(kind tracewindow.Kind, t *context, phys, owner, order uint64) {
	f := callersOf(t)
	by := f.caller()
	traceEvent(kind, uint16(owner), phys, order, by, f.caller())
}
