package gdb

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Agent expressions are the bytecode in which gdb sends conditions ("Agent Expressions" in the GDB manual). They come
// from outside: stack, steps and jumps are bounded.
const (
	maxAgentCode  = 4 << 10 // bytes
	maxAgentStack = 128     // values
	maxAgentSteps = 100_000 // instructions
)

var errAgent = errors.New("agent expression")

// agentMachine is what an expression sees of a vCPU.
type agentMachine struct {
	register func(n int) (uint64, error)
	memory   func(gva uint64, p []byte) error
}

// Opcodes.
const (
	opAdd          = 0x02
	opSub          = 0x03
	opMul          = 0x04
	opDivSigned    = 0x05
	opDivUnsigned  = 0x06
	opRemSigned    = 0x07
	opRemUnsigned  = 0x08
	opLsh          = 0x09
	opRshSigned    = 0x0a
	opRshUnsigned  = 0x0b
	opLogNot       = 0x0e
	opBitAnd       = 0x0f
	opBitOr        = 0x10
	opBitXor       = 0x11
	opBitNot       = 0x12
	opEqual        = 0x13
	opLessSigned   = 0x14
	opLessUnsigned = 0x15
	opExt          = 0x16
	opRef8         = 0x17
	opRef16        = 0x18
	opRef32        = 0x19
	opRef64        = 0x1a
	opIfGoto       = 0x20
	opGoto         = 0x21
	opConst8       = 0x22
	opConst16      = 0x23
	opConst32      = 0x24
	opConst64      = 0x25
	opReg          = 0x26
	opEnd          = 0x27
	opDup          = 0x28
	opPop          = 0x29
	opZeroExt      = 0x2a
	opSwap         = 0x2b
	opPick         = 0x32
	opRot          = 0x33
)

// agent is one evaluation.
type agent struct {
	code  []byte
	pc    int
	stack []uint64
	m     *agentMachine
}

// evaluate answers what the expression leaves on top of the stack.
func evaluate(code []byte, m *agentMachine) (uint64, error) {
	if len(code) > maxAgentCode {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", errAgent, len(code), maxAgentCode)
	}
	a := &agent{code: code, m: m}
	for range maxAgentSteps {
		op, err := a.operand(1)
		if err != nil {
			return 0, err
		}
		if op == opEnd {
			return a.pop()
		}
		if err := a.step(byte(op)); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%w: more than %d steps", errAgent, maxAgentSteps)
}

// operand is the next n bytes of code, big-endian.
func (a *agent) operand(n int) (uint64, error) {
	if n > len(a.code)-a.pc {
		return 0, fmt.Errorf("%w: it ends at byte %d, within an instruction", errAgent, len(a.code))
	}
	var v uint64
	for _, b := range a.code[a.pc : a.pc+n] {
		v = v<<8 | uint64(b)
	}
	a.pc += n
	return v, nil
}

func (a *agent) push(v uint64) error {
	if len(a.stack) >= maxAgentStack {
		return fmt.Errorf("%w: more than %d values", errAgent, maxAgentStack)
	}
	a.stack = append(a.stack, v)
	return nil
}

func (a *agent) pop() (uint64, error) {
	if len(a.stack) == 0 {
		return 0, fmt.Errorf("%w: nothing on the stack at byte %d", errAgent, a.pc)
	}
	v := a.stack[len(a.stack)-1]
	a.stack = a.stack[:len(a.stack)-1]
	return v, nil
}

// binary operations on a (below) and b (top).
var agentBinary = map[byte]func(a, b uint64) (uint64, bool){
	opAdd: func(a, b uint64) (uint64, bool) { return a + b, true },
	opSub: func(a, b uint64) (uint64, bool) { return a - b, true },
	opMul: func(a, b uint64) (uint64, bool) { return a * b, true },
	opDivSigned: func(a, b uint64) (uint64, bool) {
		return guarded(a, b, func() uint64 { return uint64(int64(a) / int64(b)) })
	},
	opDivUnsigned: func(a, b uint64) (uint64, bool) { return guarded(a, b, func() uint64 { return a / b }) },
	opRemSigned: func(a, b uint64) (uint64, bool) {
		return guarded(a, b, func() uint64 { return uint64(int64(a) % int64(b)) })
	},
	opRemUnsigned:  func(a, b uint64) (uint64, bool) { return guarded(a, b, func() uint64 { return a % b }) },
	opLsh:          func(a, b uint64) (uint64, bool) { return a << b, true },
	opRshSigned:    func(a, b uint64) (uint64, bool) { return uint64(int64(a) >> b), true },
	opRshUnsigned:  func(a, b uint64) (uint64, bool) { return a >> b, true },
	opBitAnd:       func(a, b uint64) (uint64, bool) { return a & b, true },
	opBitOr:        func(a, b uint64) (uint64, bool) { return a | b, true },
	opBitXor:       func(a, b uint64) (uint64, bool) { return a ^ b, true },
	opEqual:        func(a, b uint64) (uint64, bool) { return truth(a == b), true },
	opLessSigned:   func(a, b uint64) (uint64, bool) { return truth(int64(a) < int64(b)), true },
	opLessUnsigned: func(a, b uint64) (uint64, bool) { return truth(a < b), true },
}

// guarded divides unless b is zero. (Go defines the quotient of the least number and -1.)
func guarded(_, b uint64, f func() uint64) (uint64, bool) {
	if b == 0 {
		return 0, false
	}
	return f(), true
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func (a *agent) step(op byte) error {
	if f, ok := agentBinary[op]; ok {
		b, err1 := a.pop()
		x, err2 := a.pop()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		v, ok := f(x, b)
		if !ok {
			return fmt.Errorf("%w: division by zero", errAgent)
		}
		return a.push(v)
	}
	switch op {
	case opConst8, opConst16, opConst32, opConst64:
		v, err := a.operand(1 << (op - opConst8))
		if err != nil {
			return err
		}
		return a.push(v)
	case opRef8, opRef16, opRef32, opRef64:
		return a.ref(1 << (op - opRef8))
	case opReg:
		n, err := a.operand(2)
		if err != nil {
			return err
		}
		v, err := a.m.register(int(n))
		if err != nil {
			return err
		}
		return a.push(v)
	case opExt, opZeroExt:
		return a.extend(op == opExt)
	case opGoto, opIfGoto:
		return a.jump(op == opIfGoto)
	}
	return a.shuffle(op)
}

func (a *agent) ref(n int) error {
	gva, err := a.pop()
	if err != nil {
		return err
	}
	var b [8]byte
	if err := a.m.memory(gva, b[:n]); err != nil {
		return err
	}
	return a.push(binary.LittleEndian.Uint64(b[:]))
}

func (a *agent) extend(signed bool) error {
	n, err1 := a.operand(1)
	v, err2 := a.pop()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if n == 0 || n > 64 {
		return fmt.Errorf("%w: extension of %d bits", errAgent, n)
	}
	shift := 64 - n
	if signed {
		return a.push(uint64(int64(v<<shift) >> shift))
	}
	return a.push(v << shift >> shift)
}

func (a *agent) jump(conditional bool) error {
	to, err := a.operand(2)
	if err != nil {
		return err
	}
	if conditional {
		v, err := a.pop()
		if err != nil {
			return err
		}
		if v == 0 {
			return nil
		}
	}
	if to >= uint64(len(a.code)) {
		return fmt.Errorf("%w: a jump to byte %d of %d", errAgent, to, len(a.code))
	}
	a.pc = int(to)
	return nil
}

// shuffle is the operations on the stack alone.
func (a *agent) shuffle(op byte) error {
	top := len(a.stack)
	need := map[byte]int{opLogNot: 1, opBitNot: 1, opDup: 1, opPop: 1, opSwap: 2, opRot: 3, opPick: 1}[op]
	switch {
	case need == 0:
		return fmt.Errorf("%w: operation %#x is not supported", errAgent, op)
	case top < need:
		return fmt.Errorf("%w: operation %#x with %d values on the stack", errAgent, op, top)
	}
	s := a.stack
	switch op {
	case opLogNot:
		s[top-1] = truth(s[top-1] == 0)
	case opBitNot:
		s[top-1] = ^s[top-1]
	case opDup:
		return a.push(s[top-1])
	case opPop:
		a.stack = s[:top-1]
	case opSwap:
		s[top-1], s[top-2] = s[top-2], s[top-1]
	case opRot: // a b c becomes c a b
		s[top-1], s[top-2], s[top-3] = s[top-2], s[top-3], s[top-1]
	case opPick:
		n, err := a.operand(1)
		if err != nil {
			return err
		}
		if n >= uint64(top) {
			return fmt.Errorf("%w: pick %d of %d values", errAgent, n, top)
		}
		return a.push(s[top-1-int(n)])
	}
	return nil
}
