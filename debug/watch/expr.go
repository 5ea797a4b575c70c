package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ringo/debug/hit"
)

// Expr is a condition on a hit. Numbers are 64 bits without sign; operators and their precedence are Go's:
//
//	|| && == != < <= > >= + - | ^ * / % << >> & and, before an operand, - ! ^
//
// Names: value and new (the bytes after the access, little-endian, the first 8 of them), old, changed (1 if they differ), len, addr (GVA),
// gpa, pc, sp, cpu, user (1 in user mode), write (0 for a read), task (thread id of the kernel's task, 0 if none or not known).
type Expr struct {
	text string
	eval func(*scope) uint64
}

type scope struct {
	w    *hit.Write
	task func(*hit.Write) int
}

// String is the expression as written.
func (e *Expr) String() string { return e.text }

// Holds says whether the condition is true of w. task answers the task of a hit; it may be nil.
func (e *Expr) Holds(w *hit.Write, task func(*hit.Write) int) bool {
	return e == nil || e.eval(&scope{w, task}) != 0
}

func number(b []byte) uint64 {
	var n [8]byte
	copy(n[:], b)
	return binary.LittleEndian.Uint64(n[:])
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

var names = map[string]func(*scope) uint64{
	"value":   func(s *scope) uint64 { return number(s.w.New) },
	"new":     func(s *scope) uint64 { return number(s.w.New) },
	"old":     func(s *scope) uint64 { return number(s.w.Old) },
	"changed": func(s *scope) uint64 { return truth(!s.w.Silent) },
	"len":     func(s *scope) uint64 { return uint64(s.w.Len) },
	"addr":    func(s *scope) uint64 { return s.w.GVA },
	"gpa":     func(s *scope) uint64 { return s.w.GPA },
	"pc":      func(s *scope) uint64 { return s.w.PC },
	"sp":      func(s *scope) uint64 { return s.w.Registers.SP },
	"cpu":     func(s *scope) uint64 { return uint64(s.w.VCPU) },
	"user":    func(s *scope) uint64 { return truth(s.w.Registers.User) },
	"write":   func(s *scope) uint64 { return truth(s.w.Access == hit.Written) },
	"task": func(s *scope) uint64 {
		if s.task == nil {
			return 0
		}
		return uint64(s.task(s.w))
	},
}

// maxExpr bounds an expression and so its depth.
const maxExpr = 512

// ParseExpr reads an Expr.
func ParseExpr(text string) (*Expr, error) {
	if len(text) > maxExpr {
		return nil, fmt.Errorf("%d characters, at most %d", len(text), maxExpr)
	}
	p := &parser{rest: text}
	p.next()
	f, err := p.binary(0)
	if err == nil && p.token != "" {
		err = fmt.Errorf("%q is left over", p.token+p.rest)
	}
	if err != nil {
		return nil, err
	}
	return &Expr{text, f}, nil
}

type parser struct {
	rest, token string
}

var operators = []string{"||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "<", ">", "+", "-", "|", "^", "*", "/", "%", "&", "!", "(", ")"}

// next reads a token; "" at the end.
func (p *parser) next() {
	p.rest = strings.TrimLeft(p.rest, " \t")
	for _, o := range operators {
		if strings.HasPrefix(p.rest, o) {
			p.token, p.rest = o, p.rest[len(o):]
			return
		}
	}
	n := strings.IndexAny(p.rest, " \t|&=!<>+-^*/%()")
	if n < 0 {
		n = len(p.rest)
	}
	if n == 0 && p.rest != "" {
		n = 1 // a lone = : no operand will take it
	}
	p.token, p.rest = p.rest[:n], p.rest[n:]
}

var precedence = map[string]int{
	"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "+": 4, "-": 4, "|": 4, "^": 4,
	"*": 5, "/": 5, "%": 5, "<<": 5, ">>": 5, "&": 5,
}

var binaries = map[string]func(a, b uint64) uint64{
	"==": func(a, b uint64) uint64 { return truth(a == b) }, "!=": func(a, b uint64) uint64 { return truth(a != b) },
	"<": func(a, b uint64) uint64 { return truth(a < b) }, "<=": func(a, b uint64) uint64 { return truth(a <= b) },
	">": func(a, b uint64) uint64 { return truth(a > b) }, ">=": func(a, b uint64) uint64 { return truth(a >= b) },
	"+": func(a, b uint64) uint64 { return a + b }, "-": func(a, b uint64) uint64 { return a - b },
	"|": func(a, b uint64) uint64 { return a | b }, "^": func(a, b uint64) uint64 { return a ^ b },
	"&": func(a, b uint64) uint64 { return a & b }, "*": func(a, b uint64) uint64 { return a * b },
	"<<": func(a, b uint64) uint64 { return a << b }, ">>": func(a, b uint64) uint64 { return a >> b },
	"/": divide, "%": remainder,
}

// Division by zero is 0: a condition of a debugger must not end anything.
func divide(a, b uint64) uint64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func remainder(a, b uint64) uint64 {
	if b == 0 {
		return 0
	}
	return a % b
}

type evaluator = func(*scope) uint64

func (p *parser) binary(least int) (evaluator, error) {
	left, err := p.unary()
	if err != nil {
		return nil, err
	}
	for {
		op := p.token
		level, ok := precedence[op]
		if !ok || level <= least {
			return left, nil
		}
		p.next()
		right, err := p.binary(level)
		if err != nil {
			return nil, err
		}
		a := left
		switch op {
		case "||":
			left = func(s *scope) uint64 { return truth(a(s) != 0 || right(s) != 0) }
		case "&&":
			left = func(s *scope) uint64 { return truth(a(s) != 0 && right(s) != 0) }
		default:
			f := binaries[op]
			left = func(s *scope) uint64 { return f(a(s), right(s)) }
		}
	}
}

func (p *parser) unary() (evaluator, error) {
	op := p.token
	switch op {
	case "-", "!", "^":
		p.next()
		f, err := p.unary()
		if err != nil {
			return nil, err
		}
		return func(s *scope) uint64 {
			switch v := f(s); op {
			case "-":
				return -v
			case "!":
				return truth(v == 0)
			default:
				return ^v
			}
		}, nil
	case "(":
		p.next()
		f, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		if p.token != ")" {
			return nil, errors.New("a ) is missing")
		}
		p.next()
		return f, nil
	}
	defer p.next()
	if v, err := strconv.ParseUint(op, 0, 64); err == nil {
		return func(*scope) uint64 { return v }, nil
	}
	if f := names[op]; f != nil {
		return f, nil
	}
	if op == "" {
		return nil, errors.New("an operand is missing")
	}
	return nil, fmt.Errorf("%q is no number and no name that a condition knows", op)
}
