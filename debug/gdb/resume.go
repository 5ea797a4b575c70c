package gdb

import (
	"bytes"
	"fmt"
)

// verbose is packets that begin with v.
func (s *session) verbose(p []byte) ([]byte, error) {
	switch {
	case bytes.Equal(p, []byte("vCont?")):
		return []byte("vCont;c;C;s;S;t;r"), nil
	case bytes.HasPrefix(p, []byte("vCont;")):
		return s.vCont(p[len("vCont;"):])
	case bytes.Equal(p, []byte("vMustReplyEmpty")):
		return nil, ErrUnsupported
	case bytes.HasPrefix(p, []byte("vKill")):
		s.done = true
		return ok, nil
	case bytes.HasPrefix(p, []byte("vFile:")):
		return s.file(p[len("vFile:"):])
	}
	return nil, ErrUnsupported
}

// action is one of vCont.
type action struct {
	step       bool
	start, end uint64 // of a range step
	isRange    bool
	thread     ThreadID // allThreads: all that have no action of their own
}

// maxActions bounds a packet; gdb sends one a thread at most.
const maxActions = 256

func parseActions(text []byte) ([]action, error) {
	var out []action
	for part := range bytes.SplitSeq(text, []byte(";")) {
		if len(part) == 0 || len(out) >= maxActions {
			return nil, errMalformed
		}
		a := action{thread: allThreads}
		in := &scanner{rest: part[1:]}
		switch part[0] {
		case 'c', 't':
		case 's':
			a.step = true
		case 'C', 'S':
			a.step = part[0] == 'S'
			in.number() // a signal, of which kernels have none
		case 'r':
			a.step, a.isRange = true, true
			a.start = in.number()
			in.expect(',')
			a.end = in.number()
		default:
			return nil, errMalformed
		}
		if in.accept(':') {
			a.thread = in.thread()
		}
		if !in.ok() {
			return nil, errMalformed
		}
		out = append(out, a)
	}
	return out, nil
}

// vCont resumes. One vCPU can be stepped at a time, which is all that gdb asks for. The others run, as the stepped one may
// wait for them, unless gdb leaves them out: then it has taken a breakpoint away that they must not miss.
func (s *session) vCont(text []byte) ([]byte, error) {
	actions, err := parseActions(text)
	if err != nil {
		return nil, err
	}
	cpu, others := -1, false
	s.steps = nil
	for _, a := range actions {
		if !a.step {
			others = true
			continue
		}
		id := a.thread
		if id <= 0 {
			id = s.resume
		}
		if id > TaskThread {
			return nil, fmt.Errorf("task %d is asleep: only vCPUs can be stepped", id-TaskThread)
		}
		if _, err := s.t.Registers(id); err != nil {
			return nil, err
		}
		if cpu >= 0 && cpu != id-1 {
			return nil, fmt.Errorf("vCPUs %d and %d cannot be stepped together", cpu, id-1)
		}
		cpu = id - 1
		if a.isRange {
			s.steps = &stepRange{cpu: cpu, start: a.start, end: a.end}
		}
	}
	if s.steps != nil {
		s.steps.alone = !others
	}
	return s.resumeWith(cpu, !others)
}

func (s *session) resumeWith(step int, alone bool) ([]byte, error) {
	if err := s.t.Continue(step, alone); err != nil {
		return nil, err
	}
	s.running = true
	return nil, errNoReply
}

// resumePlainly is c, s, C and S, for clients that do not know vCont.
func (s *session) resumePlainly(p []byte) ([]byte, error) {
	in := &scanner{rest: p[1:]}
	if p[0] == 'C' || p[0] == 'S' {
		in.number()
		in.accept(';')
	}
	cpu := s.resume - 1
	if cpu < 0 || cpu >= TaskThread {
		cpu = s.last.CPU
	}
	if len(in.rest) > 0 && !in.bad {
		to := in.number()
		r, err := s.t.Registers(cpu + 1)
		if err != nil {
			return nil, err
		}
		if !in.ok() || !r.Set(s.t.PC(), little(to, 8)) {
			return nil, errMalformed
		}
	}
	if in.bad {
		return nil, errMalformed
	}
	if p[0] == 's' || p[0] == 'S' {
		return s.resumeWith(cpu, false)
	}
	return s.resumeWith(-1, false)
}

func little(v uint64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	return b
}

// maxPoints bounds what a client can make us keep.
const maxPoints = 1024

// setPoint is Z and z: TYPE,ADDR,KIND, and for Z conditions.
func (s *session) setPoint(in *scanner, insert bool) ([]byte, error) {
	kind := Kind(in.number())
	in.expect(',')
	p := Point{Kind: kind, Addr: in.number()}
	in.expect(',')
	p.Len = in.number()
	if in.bad || kind < 0 {
		return nil, errMalformed
	}
	if kind >= numKinds {
		return nil, ErrUnsupported
	}
	if !insert {
		if !in.ok() {
			return nil, errMalformed
		}
		if s.points[p] == nil {
			return ok, nil // removing twice is harmless, says the protocol
		}
		if err := s.t.Remove(p); err != nil {
			return nil, err
		}
		delete(s.points, p)
		return ok, nil
	}
	conditions, err := parseConditions(in)
	if err != nil {
		return nil, err
	}
	if at := s.points[p]; at != nil {
		at.conditions = conditions // the new ones replace the old ones
		return ok, nil
	}
	if len(s.points) >= maxPoints {
		return nil, fmt.Errorf("more than %d breakpoints and watchpoints", maxPoints)
	}
	if err := s.t.Insert(p); err != nil {
		return nil, err
	}
	s.points[p] = &point{conditions}
	return ok, nil
}

// maxConditions bounds the conditions of a breakpoint.
const maxConditions = 64

// parseConditions is ;X LEN,BYTES as often as it comes. What follows of commands is not ours: it was not offered.
func parseConditions(in *scanner) ([][]byte, error) {
	var out [][]byte
	for in.accept(';') {
		if len(in.rest) == 0 {
			break
		}
		in.expect('X')
		n := in.number()
		in.expect(',')
		if in.bad || n > maxAgentCode {
			return nil, errMalformed
		}
		code, fine := unhex(in.bytes(2 * n))
		if in.bad || !fine || len(out) >= maxConditions {
			return nil, errMalformed
		}
		out = append(out, code)
		// gdb separates further ones with nothing at all.
		for len(in.rest) > 0 && in.rest[0] == 'X' {
			in.rest = append([]byte(";"), in.rest...)
		}
	}
	if !in.ok() {
		return nil, errMalformed
	}
	return out, nil
}
