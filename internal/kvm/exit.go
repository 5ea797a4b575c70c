package kvm

import "fmt"

// Reason is kvm_run.exit_reason.
type Reason uint32

// Exit reasons the monitor knows (include/uapi/linux/kvm.h, KVM_EXIT_*).
const (
	ReasonUnknown       Reason = 0
	ReasonException     Reason = 1
	ReasonIO            Reason = 2
	ReasonHypercall     Reason = 3
	ReasonDebug         Reason = 4
	ReasonHLT           Reason = 5
	ReasonMMIO          Reason = 6
	ReasonIRQWindow     Reason = 7
	ReasonShutdown      Reason = 8
	ReasonFailEntry     Reason = 9
	ReasonIntr          Reason = 10
	ReasonSetTPR        Reason = 11
	ReasonTPRAccess     Reason = 12
	ReasonNMI           Reason = 16
	ReasonInternalError Reason = 17
	ReasonSystemEvent   Reason = 24
	ReasonIOAPICEOI     Reason = 26
	ReasonHyperV        Reason = 27
	ReasonARMNISV       Reason = 28
	ReasonRDMSR         Reason = 29
	ReasonWRMSR         Reason = 30
	ReasonDirtyRing     Reason = 31
	ReasonBusLock       Reason = 33
	ReasonNotify        Reason = 37
	ReasonMemoryFault   Reason = 39
)

var reasons = map[Reason][2]string{
	ReasonUnknown:       {"UNKNOWN", "the CPU left the guest for a reason KVM does not know"},
	ReasonException:     {"EXCEPTION", "an exception KVM does not deliver itself"},
	ReasonIO:            {"IO", "port access"},
	ReasonHypercall:     {"HYPERCALL", "hypercall"},
	ReasonDebug:         {"DEBUG", "breakpoint, watchpoint or single step"},
	ReasonHLT:           {"HLT", "halt without an in-kernel interrupt controller"},
	ReasonMMIO:          {"MMIO", "access to an address without memory"},
	ReasonIRQWindow:     {"IRQ_WINDOW_OPEN", "the guest can take an interrupt"},
	ReasonShutdown:      {"SHUTDOWN", "triple fault: an exception could not be delivered, nor the double fault after it (broken IDT, stack or page tables)"},
	ReasonFailEntry:     {"FAIL_ENTRY", "the CPU refused the guest state"},
	ReasonIntr:          {"INTR", "a signal arrived"},
	ReasonSetTPR:        {"SET_TPR", "task priority changed"},
	ReasonTPRAccess:     {"TPR_ACCESS", "task priority register accessed"},
	ReasonNMI:           {"NMI", "non-maskable interrupt"},
	ReasonInternalError: {"INTERNAL_ERROR", "KVM gave up"},
	ReasonSystemEvent:   {"SYSTEM_EVENT", "the guest asked the platform for something"},
	ReasonIOAPICEOI:     {"IOAPIC_EOI", "end of interrupt for a userspace I/O APIC"},
	ReasonHyperV:        {"HYPERV", "Hyper-V call"},
	ReasonARMNISV:       {"ARM_NISV", "data abort outside memory by an instruction without syndrome"},
	ReasonRDMSR:         {"X86_RDMSR", "MSR read"},
	ReasonWRMSR:         {"X86_WRMSR", "MSR write"},
	ReasonDirtyRing:     {"DIRTY_RING_FULL", "dirty ring full"},
	ReasonBusLock:       {"X86_BUS_LOCK", "bus lock"},
	ReasonNotify:        {"NOTIFY", "the guest blocked interrupt windows for too long"},
	ReasonMemoryFault:   {"MEMORY_FAULT", "guest memory not accessible to KVM"},
}

// String is KVM's name of the reason without KVM_EXIT_.
func (r Reason) String() string {
	if n, ok := reasons[r]; ok {
		return n[0]
	}
	return fmt.Sprintf("exit reason %d", uint32(r))
}

// Meaning says in one phrase what the reason is.
func (r Reason) Meaning() string {
	if n, ok := reasons[r]; ok {
		return n[1]
	}
	return "not known to this monitor"
}

// Sub-errors of ReasonInternalError.
const (
	InternalEmulation         = 1
	InternalSimultaneousEx    = 2
	InternalDeliveryEvent     = 3
	InternalUnexpectedVMExit  = 4
	emulationFlagInstructions = 1
)

// Types of ReasonSystemEvent.
const (
	SystemShutdown = 1
	SystemReset    = 2
	SystemCrash    = 3
)

// Exit is one decoded exit. Which fields are set depends on Reason. Slices point into
// kvm_run.
type Exit struct {
	Reason Reason

	// IO and MMIO: Data is Count elements of Size bytes for IO and one access of
	// len(Data) bytes for MMIO; for reads the monitor fills it in.
	Port  uint16
	Size  int
	Count int
	Addr  uint64 // GPA (MMIO, ARMNISV, MemoryFault)
	Data  []byte
	Write bool

	// FailEntry: the hardware's reason. InternalError: the sub-error. SystemEvent: the
	// type. Exception: the vector. ARMNISV: ESR_EL2.ISS. MemoryFault: flags.
	Code uint64
	// Instructions holds the bytes at PC where KVM supplies them (InternalError 1).
	Instructions []byte
	// Values are the further words KVM supplies (InternalError, SystemEvent).
	Values [8]uint64
	// Raw is the union of kvm_run, for the architecture's own decoding (Debug).
	Raw []byte
}

// Offsets in kvm_run.
const (
	offReason   = 8
	offUnion    = 32
	unionLength = 256
)

// decode reads the exit from a mapped kvm_run. KVM wrote it, not the guest, but sizes and
// offsets are still held to the mapping.
func (x *Exit) decode(run []byte) {
	u := run[offUnion : offUnion+unionLength]
	*x = Exit{Reason: Reason(order.Uint32(run[offReason:])), Raw: u}
	switch x.Reason {
	case ReasonIO:
		x.Write = u[0] == 1
		x.Size = int(u[1])
		x.Port = order.Uint16(u[2:])
		x.Count = int(order.Uint32(u[4:]))
		off, n := order.Uint64(u[8:]), uint64(x.Size)*uint64(x.Count)
		if off <= uint64(len(run)) && n <= uint64(len(run))-off {
			x.Data = run[off : off+n]
		}
	case ReasonMMIO:
		x.Addr = order.Uint64(u)
		n := min(order.Uint32(u[16:]), 8)
		x.Data, x.Size, x.Count = u[8:8+n], int(n), 1
		x.Write = u[20] != 0
	case ReasonException:
		x.Code = uint64(order.Uint32(u))
		x.Values[0] = uint64(order.Uint32(u[4:]))
	case ReasonFailEntry:
		x.Code = order.Uint64(u)
		x.Values[0] = uint64(order.Uint32(u[8:]))
	case ReasonInternalError:
		x.Code = uint64(order.Uint32(u))
		n := int(min(order.Uint32(u[4:]), 16))
		for i := range min(n, len(x.Values)) {
			x.Values[i] = order.Uint64(u[8+8*i:])
		}
		if x.Code == InternalEmulation && n >= 1 && x.Values[0]&emulationFlagInstructions != 0 {
			x.Instructions = u[17 : 17+min(int(u[16]), 15)]
		}
	case ReasonSystemEvent:
		x.Code = uint64(order.Uint32(u))
		n := int(min(order.Uint32(u[4:]), 16))
		for i := range min(n, len(x.Values)) {
			x.Values[i] = order.Uint64(u[8+8*i:])
		}
	case ReasonARMNISV:
		x.Code, x.Addr = order.Uint64(u), order.Uint64(u[8:])
	case ReasonMemoryFault:
		x.Code, x.Addr, x.Values[0] = order.Uint64(u), order.Uint64(u[8:]), order.Uint64(u[16:])
	case ReasonRDMSR, ReasonWRMSR:
		x.Code = uint64(order.Uint32(u[12:]))
	}
}

// String is one line for logs and reports.
func (x *Exit) String() string {
	switch x.Reason {
	case ReasonIO:
		return fmt.Sprintf("IO %s port %#x, %d x %d bytes [% x]", verb(x.Write), x.Port, x.Count, x.Size, x.Data[:min(len(x.Data), 16)])
	case ReasonMMIO:
		return fmt.Sprintf("MMIO %s GPA %#x [% x]", verb(x.Write), x.Addr, x.Data)
	case ReasonException:
		return fmt.Sprintf("EXCEPTION vector %d code %#x", x.Code, x.Values[0])
	case ReasonFailEntry:
		return fmt.Sprintf("FAIL_ENTRY hardware reason %#x on CPU %d", x.Code, x.Values[0])
	case ReasonInternalError:
		return fmt.Sprintf("INTERNAL_ERROR suberror %d (%s) %#x", x.Code, suberror(x.Code), x.Values)
	case ReasonSystemEvent:
		return fmt.Sprintf("SYSTEM_EVENT type %d (%s)", x.Code, systemEvent(x.Code))
	case ReasonARMNISV:
		return fmt.Sprintf("ARM_NISV GPA %#x ISS %#x", x.Addr, x.Code)
	case ReasonMemoryFault:
		return fmt.Sprintf("MEMORY_FAULT GPA %#x, %#x bytes, flags %#x", x.Addr, x.Values[0], x.Code)
	}
	return x.Reason.String()
}

func verb(write bool) string {
	if write {
		return "write"
	}
	return "read"
}

func suberror(code uint64) string {
	switch code {
	case InternalEmulation:
		return "an instruction it cannot emulate"
	case InternalSimultaneousEx:
		return "exception while delivering an exception"
	case InternalDeliveryEvent:
		return "fault outside memory while delivering an event: stack or IDT not in RAM"
	case InternalUnexpectedVMExit:
		return "unexpected hardware exit"
	}
	return "unknown"
}

func systemEvent(code uint64) string {
	switch code {
	case SystemShutdown:
		return "shutdown"
	case SystemReset:
		return "reset"
	case SystemCrash:
		return "crash"
	}
	return "unknown"
}
