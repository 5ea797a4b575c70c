// Package plants is the table of bugs that the kernel can plant (guestkernel/inject) and of what a debugger has to say about
// each. Tests walk it; docs/plants.md is made of it.
package plants

// ControlSuffix turns a plant's name into that of its control: the same work without the bug, about which every detector
// has to stay silent.
const ControlSuffix = "-control"

// Plant is one planted bug.
type Plant struct {
	Name string
	What string // the bug, one line
	Row  int    // in the table of the research notes
	// Program is the guest program that triggers it, a C file in guestkernel/inject/testdata without ".c"; its arguments.
	Program string
	Args    []string
	// Flags are further arguments of vmm run under which the bug is found; FOLDER is a folder of this guest's.
	Flags []string
	// Dies says that without a debugger the kernel ends in a crash; else the program reports success and nobody notices.
	Dies bool
	// Rule is the verdict (debug/classify), "" where there is to be no report.
	Rule string
	// Function is the function that makes the write, without its package path; empty where no instruction does.
	Function string
	// Writer and Victim are the names of the tasks, "" for none.
	Writer, Victim string
	// Call is the writer's system call, "" for none.
	Call string
	// Bytes is the size of the write that is reported, 0: not checked.
	Bytes int
	// New is what is written, as it repeats; nil: not checked.
	New []byte
	// Hits are the events of a watchpoint, 0: one. By is how many of them each task makes; nil: all are Writer's. Counting says that each
	// task's values are 1, 2, 3...
	Hits     int
	By       map[string]int
	Counting bool
	// Status is the exit status where Rule is Trace.
	Status int
	// Says are further things that the crash report or the trace must say, and ControlSays those of the control.
	Says, ControlSays []string
	// Arches and CPUs are where the row makes sense; nil: everywhere, 1 and 2.
	Arches []string
	CPUs   []int
}

// What a plant's report can be instead of a verdict on a stack.
const (
	// Watch: an event of a watchpoint (Flags has --watch).
	Watch = "watch"
	// Crash: the kernel's or the monitor's crash report names Function.
	Crash = "crash"
	// Timeout: the state of the vCPUs at the timeout names Function.
	Timeout = "timeout"
	// Trace: vmm run --trace and vmm trace say it.
	Trace = "trace"
)

var guard = []string{"--guard", "stacks"}

// sleeper is a plant that damages the stack of "server", asleep in accept(2), when "client" connects.
func sleeper(p Plant) Plant {
	p.Flags, p.Writer, p.Victim, p.Call = guard, "client", "server", "connect"
	if p.Program == "" {
		p.Program = "stream"
	}
	return p
}

// kernel is a sleeper whose writer is no task.
func kernel(p Plant) Plant {
	p = sleeper(p)
	p.Writer, p.Call = "", ""
	return p
}

// watch is a plant that damages a variable of the kernel; what is a package-qualified symbol with offset and length.
func watch(what string, p Plant) Plant {
	p.Flags, p.Rule, p.Writer, p.Program = []string{"--watch", "ringo/guestkernel/inject." + what}, Watch, "poke", "poke"
	return p
}

var (
	amd64 = []string{"amd64"}
	smp   = []int{2}
	ones  = []byte{0xff}

	faulted = []string{"unexpected fault address", "runtime.sigpanic"}

	traced = []string{"--trace", "FOLDER/trace.bin"}
)

// All are the plants.
var All = []Plant{
	sleeper(Plant{Name: "stack-overflow", Row: 1, Dies: true, Rule: "R1", Function: "inject.newStream", New: []byte{0},
		What: "connect(2) builds a temporary of 16 KiB on a kernel stack of 8 KiB, next to the stack of a task asleep in accept(2)"}),
	kernel(Plant{Name: "double-alloc", Row: 2, Dies: true, Rule: "R7", Function: "inject.prezeroPage", Bytes: 4096, New: []byte{0},
		What: "the free list holds a page of a sleeping stack, and a kernel goroutine clears pages ahead of their use"}),
	sleeper(Plant{Name: "backward-rep", Row: 3, Dies: true, Rule: "R2", Function: "wrong.ClearBackward", New: []byte{0}, Arches: amd64,
		What: "512 bytes are cleared with the direction flag set: downwards, from the record above the sleeping stack into it"}),
	sleeper(Plant{Name: "stale-mapping", Row: 4, Rule: "R3", Program: "touch", Bytes: 8,
		What: "a frame became a stack while a page-table entry of a program still leads to it; the program stores there"}),
	kernel(Plant{Name: "page-table", Row: 5, Rule: "R4", Program: "touch", Arches: amd64,
		What: "a page table was freed and became a stack while the table above still leads to it; the CPU sets an accessed bit"}),
	sleeper(Plant{Name: "freed-stack", Row: 6, Dies: true, Rule: "R6", Function: "inject.connectOnFreed",
		What: "the stack of a sleeping task was given back and the next task runs on it"}),
	sleeper(Plant{Name: "bad-frame", Row: 7, Dies: true, Rule: "R0",
		What: "the context switch saves its frame in the wrong order: the return address is not one"}),
	watch("shortBuffer+4,len=4", Plant{Name: "copy-8", Row: 8, Function: "inject.copyLong", Bytes: 4,
		What: "a copy of 4 bytes writes 8"}),
	sleeper(Plant{Name: "wide-store", Row: 9, Rule: "R8", Function: "wrong.StoreWide", New: ones,
		What: "one vector store of 32 bytes into the 8 bytes below a saved frame"}),
	sleeper(Plant{Name: "wrong-rsp0", Row: 10, Rule: "R5", Arches: amd64,
		What: "the TSS names a sleeping stack for interrupts, and one comes"}),
	kernel(Plant{Name: "dma-read", Row: 11, Rule: "R9", Bytes: 48, New: []byte{0xd5},
		What: "a device completes a read into a sleeping stack"}),
	kernel(Plant{Name: "dma-ring", Row: 12, Rule: "R9", Bytes: 8,
		What: "a device writes a used ring entry past the end of its ring, into a sleeping stack"}),
	sleeper(Plant{Name: "wait-node", Row: 13,
		What: "no bug: a waker marks the wait-queue entry on the sleeper's stack. No report, one suppressed hit"}),
	sleeper(Plant{Name: "silent-zero", Row: 14, Rule: "R10", Function: "inject.clearWord", Bytes: 8, New: []byte{0},
		What: "zeroes are stored over zeroes in a sleeping stack: nothing changes, and it is a write all the same"}),
	watch("counters+4096,len=248", Plant{Name: "lockstep", Row: 15, Function: "inject.countUp", Bytes: 8, Args: []string{"2"}, CPUs: smp,
		Hits: 2000, By: map[string]int{"poke": 1000, "poke2": 1000}, Counting: true,
		What: "no bug: two vCPUs store 1000 times each to one watched page, in lockstep. 2000 events, final values 1000"}),
	watch("twoPages+4096,len=16383", Plant{Name: "page-crossing", Row: 16, Function: "wrong.CrossPages", Hits: 4,
		What: "no bug: a store that crosses from one watched page into the next, a string move and an atomic beside it"}),
	watch("counters+4096,len=248", Plant{Name: "irq-storm", Row: 17, Function: "inject.countUp", Bytes: 8, Args: []string{"1", "storm"},
		Hits: 1000, Counting: true,
		What: "no bug: 1000 watched stores under a timer that interrupts every 100 us. 1000 events"}),
	sleeper(Plant{Name: "exhaust-stack", Row: 18, Dies: true, Rule: "R1", Function: "inject.exhaustStack",
		What: "unbounded recursion on a kernel stack without guard pages"}),
	{Name: "corrupt-stack", Row: 18, Program: "poke", Dies: true, Rule: Crash, Writer: "poke", Says: []string{"4141414141414141"},
		What: "a function overwrites its own return address: it jumps to 0x4141414141414141"},
	{Name: "write-ro", Row: 18, Program: "poke", Dies: true, Rule: Crash, Function: "inject.storeByte(", Writer: "poke",
		Says: faulted, What: "a store to a constant of the kernel"},
	{Name: "write-kern", Row: 18, Program: "poke", Dies: true, Rule: Crash, Function: "inject.storeByte(", Writer: "poke",
		Says: faulted, What: "a store to the kernel's code"},
	{Name: "buddy-after-free", Row: 18, Program: "poke", Dies: true, Rule: Crash, Function: "inject.buddyAfterFree", Writer: "poke",
		Says: []string{"reference count of a free frame changed"},
		What: "a reference to a frame that is free"},
	watch("list+48,len=16", Plant{Name: "list-corrupt", Row: 18, Function: "inject.insertAfter", Bytes: 8,
		What: "a list whose neighbours do not name each other gets an element: it is tied to one of another list"}),
	watch("arena+128,len=1", Plant{Name: "heap-after", Row: 19, Function: "inject.fillObject", Bytes: 1, New: []byte{0x6b},
		What: "one byte after an object of 64 bytes"}),
	watch("arena+63,len=1", Plant{Name: "heap-before", Row: 19, Function: "inject.storeByte", Bytes: 1, New: []byte{0x6b},
		What: "one byte before an object of 64 bytes"}),
	watch("session+8,len=8,if=old==2&&new==0xdead", Plant{Name: "heap-uaf", Row: 19, Function: "inject.closeSession", Bytes: 8,
		What: "an object is closed by who had given it back, when it is another's; a condition leaves out the rightful close"}),
	{Name: "double-free", Row: 19, Program: "poke", Dies: true, Rule: Crash, Function: "inject.releaseAgain", Writer: "poke",
		Says: []string{"freed frame is not the start of an allocated block"}, What: "a frame is freed twice"},
	sleeper(Plant{Name: "wrong-data", Row: 20, Rule: "R10", Function: "inject.deliver", Bytes: 8,
		What: "right code delivers a wrong value: it came from a table that two tasks share. The report says where the value lies"}),
	{Name: "trace-wrap", Row: 21, Program: "poke", Rule: Trace, Flags: traced, Writer: "poke", Says: []string{"mark end of wrap"}, ControlSays: []string{"mark end of wrap", "lost: 0 overwritten"},
		What: "no bug: more events than the rings hold. The loss is counted, the last events are there"},
	{Name: "trace-corrupt", Row: 21, Program: "poke", Rule: Trace, Flags: traced, Status: 125, Says: []string{"trace.bin: the flight recorder cannot be read: trace is corrupt: "},
		ControlSays: []string{"lost: 0 overwritten"},
		What:        "the kernel spoils the header of its flight recorder: one line says so"},
	{Name: "hang", Row: 22, Program: "poke", Rule: Timeout, Flags: []string{"--timeout", "20s"}, Function: "wrong.SpinMasked", Writer: "poke",
		What: "a CPU spins with interrupts masked"},
	sleeper(Plant{Name: "wild-write", Rule: "R10", Function: "inject.storeWord", Bytes: 8,
		What: "a store to a sleeping stack through a wrong pointer"}),
}
