//go:build amd64

package selftest

// Expectation of a Hazard.
const (
	WantException = iota // Vector
	WantPageFault        // at Addr
	WantSyscall          // the kernel then checks itself
)

// Hazard is a short program that tries to hurt the kernel.
type Hazard struct {
	Name   string
	Code   []byte // at CodeBase; nil: the check is in At
	At     uint64 // where Code lies if not at CodeBase (its page is mapped for it)
	Want   int
	Vector uint32
	Or     uint32 // another vector that is as good (an emulated CPU without that check), 0: none
	Addr   uint64
	// Then, if not 0, is one more than the exception expected from running it again after a system call.
	Then uint32
}

// Exception vectors.
const (
	divide     = 0
	debug      = 1
	breakpoint = 3
	invalid    = 6
	protection = 13
	x87        = 16
	alignment  = 17
)

const (
	// mov eax, CallNothing; syscall
	sysNothing = "\xb8\xea\x03\x00\x00\x0f\x05"
	// pushfq; or qword [rsp], imm32; popfq
	orFlags  = "\x9c\x48\x81\x0c\x24"
	popFlags = "\x9d"
	ud2      = "\x0f\x0b"
)

// Hazards are run in order, each in a fresh context with SP = StackTop.
func Hazards() []Hazard {
	const topPage = 1<<47 - 0x1000
	return []Hazard{
		{Name: "hlt", Code: []byte("\xf4"), Vector: protection},
		{Name: "cli", Code: []byte("\xfa"), Vector: protection},
		{Name: "mov to cr3", Code: []byte("\x0f\x22\xd8"), Vector: protection},
		{Name: "mov from cr0", Code: []byte("\x0f\x20\xc0"), Vector: protection},
		{Name: "wrmsr", Code: []byte("\xb9\x82\x00\x00\xc0\x0f\x30"), Vector: protection},
		{Name: "rdmsr", Code: []byte("\x0f\x32"), Vector: protection},
		{Name: "in", Code: []byte("\xec"), Vector: protection},
		{Name: "out to the power port", Code: []byte("\x66\xba\x04\x06\xef"), Vector: protection},
		{Name: "lgdt", Code: []byte("\x0f\x01\x14\x24"), Vector: protection},
		{Name: "lidt", Code: []byte("\x0f\x01\x1c\x24"), Vector: protection},
		{Name: "ltr", Code: []byte("\x0f\x00\xd8"), Vector: protection},
		{Name: "xsetbv", Code: []byte("\x0f\x01\xd1"), Vector: protection},
		{Name: "invlpg", Code: []byte("\x0f\x01\x38"), Vector: protection},
		{Name: "swapgs", Code: []byte("\x0f\x01\xf8"), Vector: protection},
		{Name: "sysret", Code: []byte("\x48\x0f\x07"), Vector: protection},
		// push kernel SS, SP, flags, kernel CS, IP; iretq
		{Name: "iret to ring 0", Code: []byte("\x6a\x10\x54\x9c\x6a\x08\x6a\x00\x48\xcf"), Vector: protection},
		{Name: "kernel data selector into ss", Code: []byte("\xb8\x10\x00\x00\x00\x8e\xd0"), Vector: protection},
		{Name: "int 0x20, the timer's vector", Code: []byte("\xcd\x20"), Vector: protection},
		{Name: "int 0x80", Code: []byte("\xcd\x80"), Vector: protection},
		{Name: "int 8", Code: []byte("\xcd\x08"), Vector: protection},
		{Name: "ud2", Code: []byte(ud2), Vector: invalid},
		{Name: "int3", Code: []byte("\xcc"), Vector: breakpoint},
		{Name: "icebp", Code: []byte("\xf1"), Vector: debug},
		{Name: "divide by zero", Code: []byte("\x31\xc9\xf7\xf1"), Vector: divide},
		{Name: "jump to a non-canonical address", Code: []byte("\x48\xb8\x00\x00\x00\x00\x00\x80\x00\x00\xff\xe0"), Vector: protection},
		{Name: "load from a non-canonical address", Code: []byte("\x48\xb8\x00\x00\x00\x00\x00\x80\x00\x00\x8b\x00"), Vector: protection},
		{Name: "load from the kernel image", Code: []byte("\x8b\x04\x25\x00\x00\x20\x80"), Want: WantPageFault, Addr: 0xffffffff80200000},
		{Name: "load from the direct map", Code: []byte("\x48\xb8\x00\x00\x00\x00\x80\x88\xff\xff\x8b\x00"), Want: WantPageFault, Addr: 0xffff888000000000},
		{Name: "execute data", Code: []byte("\xb8\x00\x00\x21\x00\xff\xe0"), Want: WantPageFault, Addr: DataBase},
		{Name: "store to code", Code: []byte("\xa3\x00\x00\x20\x00\x00\x00\x00\x00"), Want: WantPageFault, Addr: CodeBase},
		{Name: "trap flag", Code: []byte(orFlags + "\x00\x01\x00\x00" + popFlags + "\x90\x90"), Vector: debug},
		{Name: "trap flag across a system call", Code: []byte("\xb8\xea\x03\x00\x00" + orFlags + "\x00\x01\x00\x00" + popFlags + "\x0f\x05\x90\x90"), Want: WantSyscall, Then: debug + 1},
		{Name: "direction flag in a system call", Code: []byte("\xfd" + sysNothing + ud2), Want: WantSyscall, Then: invalid + 1},
		{Name: "direction flag in an exception", Code: []byte("\xfd" + ud2), Vector: invalid},
		{Name: "alignment check", Code: []byte(orFlags + "\x00\x00\x04\x00" + popFlags + "\x8b\x44\x24\x01" + ud2), Vector: alignment, Or: invalid},
		{Name: "alignment check flag in a system call", Code: []byte(orFlags + "\x00\x00\x04\x00" + popFlags + sysNothing + ud2), Want: WantSyscall, Then: invalid + 1},
		{Name: "nested task flag in a system call", Code: []byte(orFlags + "\x00\x40\x00\x00" + popFlags + sysNothing + ud2), Want: WantSyscall, Then: invalid + 1},
		// mov dword [rsp-8], 0; ldmxcsr [rsp-8]: all SSE exceptions unmasked
		{Name: "mxcsr 0 in a system call", Code: []byte("\xc7\x44\x24\xf8\x00\x00\x00\x00\x0f\xae\x54\x24\xf8" + sysNothing + ud2), Want: WantSyscall, Then: invalid + 1},
		// mov word [rsp-8], 0; fldcw; fld1; fldz; fdivp: an exception is pending. Then fwait.
		{Name: "pending x87 exception in a system call", Code: []byte("\x66\xc7\x44\x24\xf8\x00\x00\xd9\x6c\x24\xf8\xd9\xe8\xd9\xee\xde\xf9" + sysNothing + "\x9b"), Want: WantSyscall, Then: x87 + 1},
		// rax = -1 << 47; wrgsbase rax: looks like the kernel's base
		{Name: "kernel address as gs base", Code: []byte("\x48\xc7\xc0\xff\xff\xff\xff\x48\xc1\xe0\x2f\xf3\x48\x0f\xae\xd8" + sysNothing + ud2), Want: WantSyscall, Then: invalid + 1},
		{Name: "null selectors", Code: []byte("\x31\xc0\x8e\xd8\x8e\xc0\x8e\xe0\x8e\xe8" + sysNothing + ud2), Want: WantSyscall, Then: invalid + 1},
		// push 0x1b; push 0x200000; retfq: into the 32-bit code segment that SYSRET's base would be
		{Name: "far return to 32-bit code", Code: []byte("\x6a\x1b\x68\x00\x00\x20\x00\x48\xcb"), Vector: protection},
		{Name: "stack pointer in the kernel", Code: []byte("\x48\xc7\xc4\x00\x00\x00\x80" + sysNothing + ud2), Want: WantSyscall, Then: invalid + 1},
		{Name: "non-canonical stack pointer", Code: []byte("\x48\xbc\x00\x00\x00\x00\x00\x80\x00\x00" + sysNothing + ud2), Want: WantSyscall, Then: invalid + 1},
		// SYSCALL as the last instruction below 2^47: SYSRET to its return address would fault in ring 0
		{Name: "system call at the end of user space", Code: []byte("\x0f\x05"), At: topPage + 0xffe, Want: WantSyscall, Then: protection + 1},
	}
}
