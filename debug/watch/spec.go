package watch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ringo/debug/hit"
)

// Spec is a watch as users write it:
//
//	WHAT[,len=N][,access=w|rw][,if=EXPR][,log|stop]
//
// WHAT is an address (GVA, 0x... or decimal), phys:ADDRESS (GPA), or a symbol of the kernel: a Go variable with its fields and
// elements, the package's path as short as it is unambiguous, and an offset: task.initTask.state, fs.table[3].name+0x8.
// Without len, a variable or field is watched whole, and 8 bytes of an address.
type Spec struct {
	Text     string
	Symbol   string // "" for an address
	Offset   uint64 // behind Symbol
	Address  uint64
	Physical bool
	Len      uint64 // 0: not given
	Reads    bool
	Stop     bool  // the guest ends at the first hit
	If       *Expr // nil: always
}

// ErrSpec is wrapped by every error of ParseSpec.
var ErrSpec = errors.New("not a watch")

// maxLen bounds a watch.
const maxLen = maxWatch

const maxWatch = 1 << 30

// ParseSpec reads a Spec. Symbols are not looked up.
func ParseSpec(text string) (*Spec, error) {
	s := &Spec{Text: text}
	what, rest, _ := strings.Cut(text, ",")
	if err := s.what(strings.TrimSpace(what)); err != nil {
		return nil, err
	}
	for rest != "" {
		var option string
		if expr, ok := strings.CutPrefix(strings.TrimSpace(rest), "if="); ok {
			// An expression may hold commas nowhere, so it ends at the next.
			option, rest, _ = strings.Cut(expr, ",")
			e, err := ParseExpr(option)
			if err != nil {
				return nil, fmt.Errorf("%w: %q: if=%s: %w", ErrSpec, text, option, err)
			}
			s.If = e
			continue
		}
		option, rest, _ = strings.Cut(rest, ",")
		if err := s.option(strings.TrimSpace(option)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Spec) what(what string) (err error) {
	bad := func(why string) error { return fmt.Errorf("%w: %q: %s", ErrSpec, s.Text, why) }
	if phys, ok := strings.CutPrefix(what, "phys:"); ok {
		s.Physical = true
		if s.Address, err = strconv.ParseUint(phys, 0, 64); err != nil {
			return bad("phys: wants an address like 0x1f000")
		}
		return nil
	}
	if s.Address, err = strconv.ParseUint(what, 0, 64); err == nil {
		return nil
	}
	s.Symbol = what
	if i := strings.LastIndexByte(what, '+'); i >= 0 {
		s.Symbol = what[:i]
		if s.Offset, err = strconv.ParseUint(what[i+1:], 0, 64); err != nil {
			return bad("the offset behind + is no number")
		}
	}
	if s.Symbol == "" || strings.ContainsAny(s.Symbol, " \t=") {
		return bad("want an address, phys:ADDRESS or a symbol")
	}
	return nil
}

func (s *Spec) option(o string) (err error) {
	name, value, _ := strings.Cut(o, "=")
	switch {
	case name == "len":
		if s.Len, err = strconv.ParseUint(value, 0, 64); err != nil || s.Len == 0 || s.Len > maxLen {
			return fmt.Errorf("%w: %q: len wants 1 to %d bytes", ErrSpec, s.Text, maxLen)
		}
	case o == "access=w":
	case o == "access=rw":
		s.Reads = true
	case o == "stop":
		s.Stop = true
	case o == "log":
		s.Stop = false
	default:
		return fmt.Errorf("%w: %q: %q is none of len=N, access=w, access=rw, if=EXPR, log, stop", ErrSpec, s.Text, o)
	}
	return nil
}

// Resolver finds symbols.
type Resolver interface {
	// Resolve is the GVA and size in bytes of a variable or a part of it.
	Resolve(name string) (gva, size uint64, err error)
}

// Request is the Spec with its symbol looked up, for Owner.Add. r is asked only if there is a symbol.
func (s *Spec) Request(r Resolver, sink hit.Sink) (Request, error) {
	q := Request{GVA: s.Address, Physical: s.Physical, Len: s.Len, Reads: s.Reads, Sink: sink}
	if s.Physical {
		q.GVA, q.GPA = 0, s.Address
	}
	if s.Symbol != "" {
		gva, size, err := r.Resolve(s.Symbol)
		if err != nil {
			return q, err
		}
		q.GVA = gva + s.Offset
		if q.Len == 0 && s.Offset < size {
			q.Len = size - s.Offset
		}
	}
	if q.Len == 0 {
		q.Len = 8
	}
	if q.Len > maxLen {
		return q, fmt.Errorf("%w: %q: %d bytes, at most %d", ErrSpec, s.Text, q.Len, maxLen)
	}
	return q, nil
}
