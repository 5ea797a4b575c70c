package nucleus

import (
	"sync/atomic"
	"unsafe"

	"ringo/internal/pagetable"
)

// fatalCPU is 1 + the CPU that reports a crash, 0: none. The others stop.
var (
	fatalCPU   uint32
	fatalDepth int
)

// handleFatal is Handlers.Fatal: an exception in the nucleus itself.
func handleFatal(f *frame, e *event) { reportFatal(f, e, "exception in the nucleus") }

// fatalError ends the machine for a reason the nucleus has found itself.
func fatalError(reason string, value uint64) {
	beginFatal()
	printString("\nringo: fatal: ")
	printString(reason)
	printString(" ")
	printHex(value)
	printString("\n")
	c := &k.cpus[thisCPU()]
	if c.current >= 0 && c.current < maxThreads {
		printThread(c.current)
		t := &k.sched.threads[c.current].ctx
		link := uint64(0)
		if c.lastTrap.kind == trapSyscall {
			link = leafReturn(t) // Call has no frame, and its caller is who asked for what cannot be
		}
		printTrace(t.PC(), t.SP(), t.FramePointer(), link)
	}
	endFatal()
}

// violate reports a broken invariant of the frame allocator. A variable, so that tests can
// look at violations; in the kernel it never returns.
var violateHook uintptr // tests: 1 counts instead of ending the machine
var violations int

func violate(what string, phys uint64) {
	if violateHook != 0 {
		violations++
		return
	}
	fatalError(what, phys)
}

// reportFatal prints everything the guest knows about a crash and powers off with PANIC.
func reportFatal(f *frame, e *event, reason string) {
	beginFatal()
	printString("\nringo: fatal: ")
	printString(reason)
	printString(": ")
	printString(e.Name())
	printString(", error code ")
	printHex(e.Code)
	printString(", address ")
	printHex(e.Addr)
	printString(", CPU ")
	printDec(uint64(thisCPU()))
	printString("\n")
	for i := 0; ; i++ {
		name, v, ok := f.Register(i)
		if !ok {
			break
		}
		printRegister(i, name, v)
	}
	printString("\n")
	for i := 0; ; i++ {
		name, v, ok := systemRegister(i)
		if !ok {
			break
		}
		printRegister(i, name, v)
	}
	printString("\n")
	if symbol(uintptr(f.PC())) == "runtime.morestack" {
		printString("the nucleus stack is exhausted: a stack check found no goroutine to grow\n")
	}
	c := &k.cpus[thisCPU()]
	if c.current >= 0 && c.current < maxThreads {
		printThread(c.current)
	}
	if e.Kind == EventPageFault {
		printWalk(loadedRoot(), e.Addr)
	}
	printTrace(f.PC(), f.StackPointer(), f.FramePointer(), 0)
	endFatal()
}

func beginFatal() {
	me := uint32(thisCPU()) + 1
	if !atomic.CompareAndSwapUint32(&fatalCPU, 0, me) {
		if atomic.LoadUint32(&fatalCPU) != me {
			for { // another CPU is reporting; it ends the machine
				pause()
			}
		}
		// A fault inside the report: what is printed is all there is.
		if fatalDepth++; fatalDepth > 1 {
			powerOff(powerOffPanic)
		}
		printString("\nringo: the report itself faulted\n")
		powerOff(powerOffPanic)
	}
	logQuiet = false
}

func endFatal() {
	for i := range int(k.info.CPUs) {
		c := &k.cpus[i]
		printString("CPU ")
		printDec(uint64(i))
		printString(": ")
		printDec(c.traps)
		printString(" traps, last: ")
		switch c.lastTrap.kind {
		case trapSyscall:
			printString("system call ")
		case trapException:
			printString("exception ")
		case trapInterrupt:
			printString("interrupt source ")
		default:
			printString("none ")
		}
		printDec(c.lastTrap.detail)
		printString(" at ")
		printSymbol(c.lastTrap.pc)
		printString("\n")
	}
	powerOff(powerOffPanic)
}

func printRegister(i int, name string, v uint64) {
	if i > 0 && i%4 == 0 {
		printString("\n")
	}
	printString("  ")
	printString(name)
	printString("=")
	printHex(v)
}

func printThread(i int32) {
	t := &k.sched.threads[i]
	printString("runtime thread ")
	printDec(uint64(tid(i)))
	printString(", ")
	printDec(t.switches)
	printString(" switches\n")
}

// printTrace follows the frame pointers of Go code. link is where the function at pc returns to, if that has no frame of its own; else 0.
func printTrace(pc, sp, fp, link uint64) {
	printString("  at ")
	printSymbol(pc)
	printString(" (sp ")
	printHex(sp)
	printString(")\n")
	if link != 0 {
		printString("  by ")
		printSymbol(link - 1)
		printString("\n")
	}
	var last uint64
	repeated := 0
	for n := 0; n < 4096 && fp >= directMap && fp&7 == 0 && readable(fp) && readable(fp+8); n++ {
		pc, next := load64(fp+8), load64(fp)
		if pc == 0 {
			break
		}
		if pc != last {
			printRepeated(repeated)
			repeated = 0
			printString("  by ")
			printSymbol(pc - 1)
			printString("\n")
		} else {
			repeated++
		}
		last = pc
		if next <= fp {
			break
		}
		fp = next
	}
	printRepeated(repeated)
}

func printRepeated(n int) {
	if n > 0 {
		printString("     and ")
		printDec(uint64(n))
		printString(" times more\n")
	}
}

// readable says whether the nucleus can load 8 bytes at va without a fault.
func readable(va uint64) bool {
	t := table{Root: loadedRoot(), Mem: tables{}}
	_, _, _, ok := t.Lookup(va)
	return ok
}

// printWalk shows the way of the page-table walker to va.
func printWalk(root, va uint64) {
	t := table{Root: root, Mem: tables{}}
	w := t.Walk(va)
	printString("page walk of ")
	printHex(va)
	printString(", root ")
	printHex(root)
	printString(":")
	for i := range w.N {
		printString(" ")
		printHex(w.Steps[i].Entry)
	}
	if w.Result == pagetable.WalkMapped {
		printString(" -> ")
		printHex(w.PA)
		if r, i := k.frames.find(w.PA); r != nil {
			rec := r.record(i)
			printString(" owner ")
			printString(rec.owner.String())
			printString(" refs ")
			printDec(uint64(rec.refs))
		}
	}
	printString("\n")
}

// printSymbol prints an address with its function, found in the runtime's own table.
func printSymbol(pc uint64) {
	printHex(pc)
	if name := symbol(uintptr(pc)); name != "" {
		printString(" ")
		printString(name)
	}
}

// symbol is the function that holds pc. It is what runtime.FuncForPC does, less inlining, for
// which that may allocate: the module data is found by linkname, its layout is that of Go 1.26.
func symbol(pc uintptr) string {
	m := lastmoduledatap
	if m == nil || pc < m.text || pc >= m.etext || len(m.ftab) == 0 {
		return ""
	}
	off := uint32(pc - m.text)
	lo, hi := 0, len(m.ftab)-1
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if m.ftab[mid].entryoff <= off {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	f := m.ftab[lo].funcoff
	if int(f)+8 > len(m.pclntable) {
		return ""
	}
	p := m.pclntable[f+4:]
	at := int(uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24)
	if at >= len(m.funcnametab) {
		return ""
	}
	end := at
	for end < len(m.funcnametab) && m.funcnametab[end] != 0 {
		end++
	}
	return unsafe.String(&m.funcnametab[at], end-at)
}

// lastmoduledatap is the only module's data, set by the linker.
//
//go:linkname lastmoduledatap runtime.lastmoduledatap
var lastmoduledatap *moduledata

// moduledata is the beginning of runtime.moduledata (runtime/symtab.go).
type moduledata struct {
	_           uintptr // pcHeader
	funcnametab []byte
	_           [3][]byte // cutab, filetab, pctab: slices have one size
	pclntable   []byte
	ftab        []struct{ entryoff, funcoff uint32 }
	_           [3]uintptr // findfunctab, minpc, maxpc
	text, etext uintptr
}
