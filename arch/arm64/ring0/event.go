package ring0

// Exception classes: ESR_EL1.EC (Arm ARM D24.2.40).
const (
	ecUnknown    = 0x00
	ecFPAccess   = 0x07
	ecIllegal    = 0x0e
	ecSVC64      = 0x15
	ecSystem     = 0x18
	ecSVE        = 0x19
	ecInstrUser  = 0x20
	ecInstr      = 0x21
	ecPCAlign    = 0x22
	ecDataUser   = 0x24
	ecData       = 0x25
	ecSPAlign    = 0x26
	ecFP64       = 0x2c
	ecSError     = 0x2f
	ecBreakUser  = 0x30
	ecStepUser   = 0x32
	ecWatchUser  = 0x34
	ecBRK        = 0x3c
	issWnR       = 1 << 6
	issCM        = 1 << 8
	issFSCMask   = 0x3f
	fscAddrSize  = 0x00 // + level
	fscTransl    = 0x04
	fscAccess    = 0x08
	fscPerm      = 0x0c
	fscAlignment = 0x21
)

// classify turns ESR_EL1 and FAR_EL1 into an Event.
func classify(esr, far, pc uint64) Event {
	e := Event{Kind: EventException, Vector: uint32(esr >> 26 & 0x3f), Code: esr, Addr: pc}
	switch e.Vector {
	case ecSVC64:
		e.Kind = EventSyscall
		return e
	case ecInstrUser, ecInstr:
		e.Access = AccessExec
	case ecDataUser, ecData:
		if esr&issWnR != 0 && esr&issCM == 0 {
			e.Access = AccessWrite
		}
	case ecPCAlign, ecWatchUser:
		e.Addr = far
		return e
	default:
		return e
	}
	e.Addr = far
	switch esr & issFSCMask &^ 3 {
	case fscTransl, fscAccess, fscAddrSize:
		e.Kind = EventPageFault
	case fscPerm:
		e.Kind = EventPageFault
		e.Present = true
	}
	return e
}

// Name is the exception's name in reports.
func (e *Event) Name() string {
	switch e.Vector {
	case ecUnknown:
		return "undefined instruction"
	case ecFPAccess:
		return "floating point access trapped"
	case ecIllegal:
		return "illegal execution state"
	case ecSVC64:
		return "SVC"
	case ecSystem:
		return "system register access trapped"
	case ecSVE:
		return "SVE access trapped"
	case ecInstrUser:
		return "instruction abort from EL0"
	case ecInstr:
		return "instruction abort from EL1"
	case ecPCAlign:
		return "misaligned program counter"
	case ecDataUser:
		return "data abort from EL0"
	case ecData:
		return "data abort from EL1"
	case ecSPAlign:
		return "misaligned stack pointer"
	case ecFP64:
		return "floating point exception"
	case ecSError:
		return "SError"
	case ecBreakUser, ecBreakUser + 1:
		return "hardware breakpoint"
	case ecStepUser, ecStepUser + 1:
		return "software step"
	case ecWatchUser, ecWatchUser + 1:
		return "hardware watchpoint"
	case ecBRK:
		return "BRK"
	}
	return "unknown exception"
}
