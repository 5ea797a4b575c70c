package gdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// session is one connection.
type session struct {
	t Target
	l *link

	running bool
	steps   *stepRange // of a range step under way
	// The threads that Hg and Hc chose.
	general, resume ThreadID
	last            Stop // the last one reported

	points     map[Point]*point
	features   string
	files      [maxFiles]*os.File
	threadsXML string // of this stop
	done       bool
}

// point is a breakpoint with its conditions; nil conditions: it always counts.
type point struct {
	conditions [][]byte
}

// stepRange is `vCont;r`: step while pc is in [start, end).
type stepRange struct {
	cpu        int
	start, end uint64
	alone      bool
}

// Serve speaks to one gdb until it detaches, kills, or the connection ends: closing that is how the caller ends it. The
// guest stands still when gdb attaches, and runs on afterwards.
func Serve(conn io.ReadWriter, t Target) error {
	s := &session{t: t, l: newLink(conn), points: map[Point]*point{}, features: t.Description().XML(), general: 1, resume: 1}
	if err := t.Attach(); err != nil {
		return err
	}
	defer t.Detach()
	defer s.closeFiles()
	packets := make(chan packet)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for {
			p, err := s.l.read()
			if err != nil {
				ended <- err
				return
			}
			select {
			case packets <- p:
			case <-ctx.Done():
				return
			}
		}
	}()
	for !s.done {
		var err error
		select {
		case err = <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
		case p := <-packets:
			err = s.packet(p)
		case stop := <-s.stops():
			err = s.stopped(stop)
		case text := <-s.notes():
			err = s.show(text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stops are worth waiting for only while the guest runs.
func (s *session) stops() <-chan Stop {
	if !s.running {
		return nil
	}
	return s.t.Stops()
}

// notes can be shown only while gdb waits for a stop.
func (s *session) notes() <-chan string {
	if !s.running {
		return nil
	}
	return s.t.Notes()
}

// show lets gdb print text.
func (s *session) show(text string) error {
	for len(text) > 0 {
		n := min(len(text), 4096)
		if err := s.l.write(appendHex([]byte("O"), []byte(text[:n]))); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// packet handles one packet. Its error ends the connection.
func (s *session) packet(p packet) error {
	if p.interrupt {
		if s.running {
			s.t.Interrupt()
		}
		return nil
	}
	reply, err := s.handle(p.payload)
	switch {
	case errors.Is(err, errNoReply):
		return nil
	case errors.Is(err, ErrUnsupported):
		return s.l.write(nil)
	case errors.Is(err, errMalformed):
		return s.l.write([]byte("E01"))
	case err != nil:
		return s.l.write([]byte("E." + oneLine(err.Error())))
	}
	return s.l.write(reply)
}

// Errors of handlers.
var (
	errMalformed = errors.New("malformed packet")
	errNoReply   = errors.New("the reply comes later")
)

// oneLine is text that fits an error packet.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), 400)]
}

var ok = []byte("OK")

// handle is the reply to a packet.
func (s *session) handle(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, ErrUnsupported
	}
	if s.running && p[0] != 'Z' && p[0] != 'z' && p[0] != 'D' && p[0] != 'k' {
		return nil, errMalformed // gdb waits for the stop
	}
	in := &scanner{rest: p[1:]}
	switch p[0] {
	case '?':
		return s.report(s.last), nil
	case '!':
		return ok, nil
	case 'q', 'Q':
		return s.query(p)
	case 'v':
		return s.verbose(p)
	case 'H':
		return s.choose(in)
	case 'T':
		return s.alive(in)
	case 'g':
		return s.readRegisters()
	case 'G':
		return s.writeRegisters(in.rest)
	case 'p':
		return s.readRegister(in)
	case 'P':
		return s.writeRegister(in)
	case 'm':
		return s.readMemory(in)
	case 'M', 'X':
		return s.writeMemory(in, p[0] == 'X')
	case 'Z', 'z':
		return s.setPoint(in, p[0] == 'Z')
	case 'c', 'C', 's', 'S':
		return s.resumePlainly(p)
	case 'D':
		s.done = true
		return ok, nil
	case 'k':
		s.done = true
		return nil, errNoReply
	}
	return nil, ErrUnsupported
}

// choose is Hg and Hc.
func (s *session) choose(in *scanner) ([]byte, error) {
	to := &s.general
	if in.accept('c') {
		to = &s.resume
	} else {
		in.expect('g')
	}
	id := in.thread()
	if !in.ok() {
		return nil, errMalformed
	}
	if id <= 0 {
		if id = s.last.CPU + 1; to == &s.general && s.general > 0 {
			id = s.general
		}
	}
	if _, err := s.t.Registers(id); err != nil {
		return nil, err
	}
	*to = id
	return ok, nil
}

func (s *session) alive(in *scanner) ([]byte, error) {
	id := in.thread()
	if !in.ok() {
		return nil, errMalformed
	}
	if _, err := s.t.Registers(id); err != nil {
		return nil, err
	}
	return ok, nil
}

// report is a stop reply.
func (s *session) report(stop Stop) []byte {
	if stop.Exited {
		return []byte("W00")
	}
	b := []byte("T05")
	if p := stop.Point; p != nil {
		switch p.Kind {
		case SoftwareBreak:
			b = append(b, "swbreak:;"...)
		case HardwareBreak:
			b = append(b, "hwbreak:;"...)
		default:
			word := map[Kind]string{WriteWatch: "watch", ReadWatch: "rwatch", AccessWatch: "awatch"}[p.Kind]
			b = fmt.Appendf(b, "%s:%x;", word, stop.DataAddr)
		}
	}
	b = fmt.Appendf(b, "thread:%x;core:%x;", stop.CPU+1, stop.CPU)
	// The registers that gdb asks for first.
	if r, err := s.t.Registers(stop.CPU + 1); err == nil {
		numbers := []int{s.t.FP(), s.t.SP(), s.t.PC()}
		slices.Sort(numbers)
		for _, n := range numbers {
			if v := r.Get(n); v != nil {
				b = fmt.Appendf(b, "%x:", n)
				b = append(appendHex(b, v), ';')
			}
		}
	}
	return b
}

// stopped handles a stop of the guest: it tells gdb, or lets the guest go on when a condition says so.
func (s *session) stopped(stop Stop) error {
	s.running = false
	s.threadsXML = ""
	s.last = stop
	if !stop.Exited {
		again, err := s.passes(&stop)
		if err != nil {
			stop.Text += fmt.Sprintf("The condition could not be evaluated: %v\n", err)
		} else if again {
			return s.continueAfter(stop)
		}
	}
	s.steps = nil
	s.done = stop.Exited
	s.general, s.resume = stop.CPU+1, stop.CPU+1
	for more := true; more; {
		select {
		case text := <-s.t.Notes():
			if err := s.show(text); err != nil {
				return err
			}
		default:
			more = false
		}
	}
	if err := s.show(stop.Text); err != nil {
		return err
	}
	return s.l.write(s.report(stop))
}

// passes says that a stop is none for gdb: a condition is false, or a range step has not left its range.
func (s *session) passes(stop *Stop) (bool, error) {
	if stop.Step && s.steps != nil && s.steps.cpu == stop.CPU {
		pc, err := s.pc(stop.CPU)
		return err == nil && pc >= s.steps.start && pc < s.steps.end, nil
	}
	if stop.Point == nil {
		return false, nil
	}
	p := s.points[*stop.Point]
	if p == nil || len(p.conditions) == 0 {
		return false, nil
	}
	m := s.agentMachine(stop.CPU + 1)
	for _, c := range p.conditions {
		v, err := evaluate(c, m)
		if err != nil {
			return false, err
		}
		if v != 0 {
			return false, nil
		}
	}
	return true, nil
}

func (s *session) agentMachine(id ThreadID) *agentMachine {
	return &agentMachine{
		register: func(n int) (uint64, error) {
			r, err := s.t.Registers(id)
			if err != nil {
				return 0, err
			}
			b := r.Get(n)
			if b == nil || len(b) > 8 {
				return 0, fmt.Errorf("%w: register %d", errAgent, n)
			}
			return number(b), nil
		},
		memory: func(gva uint64, p []byte) error {
			if s.t.ReadMemory(id, gva, p) != len(p) {
				return fmt.Errorf("%w: memory at %#x cannot be read", errAgent, gva)
			}
			return nil
		},
	}
}

func number(b []byte) uint64 {
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}

func (s *session) pc(cpu int) (uint64, error) {
	r, err := s.t.Registers(cpu + 1)
	if err != nil {
		return 0, err
	}
	return number(r.Get(s.t.PC())), nil
}

// continueAfter lets the guest go on after a stop that is none for gdb.
func (s *session) continueAfter(stop Stop) error {
	if stop.Point != nil && stop.Point.Kind <= HardwareBreak {
		if err := s.t.StepOver(stop.CPU); err != nil {
			return fmt.Errorf("go on: %w", err)
		}
	}
	step := -1
	if s.steps != nil {
		step = s.steps.cpu
	}
	if err := s.t.Continue(step, step >= 0 && s.steps.alone); err != nil {
		return fmt.Errorf("go on: %w", err)
	}
	s.running = true
	return nil
}
