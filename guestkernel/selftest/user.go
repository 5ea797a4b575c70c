package selftest

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"ringo/guestkernel/nucleus"
	"ringo/internal/pagetable"
)

// tables gives page tables frames of the nucleus.
type tables struct{}

func (tables) Table(gpa uint64) *[pagetable.Entries]uint64 {
	return (*[pagetable.Entries]uint64)(unsafe.Pointer(unsafe.SliceData(nucleus.Bytes(gpa, 4096))))
}

func (tables) AllocTable() (uint64, bool) {
	phys, err := nucleus.AllocFrames(0, nucleus.OwnerPageTable)
	return phys, err == nil
}

func (tables) FreeTable(gpa uint64) { nucleus.FreeFrames(gpa, 0) }

// space is an address space for one test program.
type space struct {
	t      table
	frames []uint64
	ctx    *nucleus.UserContext
}

func newSpace(program []byte, at uint64) (*space, error) {
	root, err := nucleus.AllocFrames(0, nucleus.OwnerPageTable)
	if err != nil {
		return nil, err
	}
	nucleus.CopyKernelHalf(root)
	s := &space{t: table{Root: root, Mem: tables{}}}
	if s.ctx, err = nucleus.NewUserContext(); err != nil {
		return nil, err
	}
	if err := s.add(at&^4095, program, int(at&4095), pagetable.User|pagetable.Exec); err != nil {
		return nil, err
	}
	for i := range uint64(dataPages) {
		if err := s.add(dataBase+i*4096, nil, 0, pagetable.User|pagetable.Write); err != nil {
			return nil, err
		}
	}
	s.ctx.SetRoot(root)
	s.ctx.Reset(at, stackTop)
	return s, nil
}

func (s *space) add(va uint64, content []byte, at int, p pagetable.Prot) error {
	if len(content)+at > 4096 {
		return fmt.Errorf("program of %d bytes does not fit its page", len(content))
	}
	phys, err := nucleus.AllocFrames(0, nucleus.OwnerUser)
	if err != nil {
		return err
	}
	s.frames = append(s.frames, phys)
	b := nucleus.Bytes(phys, 4096)
	copy(b[at:], content)
	nucleus.SyncCode(uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), 4096)
	return s.t.Map(va, phys, 4096, p)
}

// data is the page at dataBase through the direct map.
func (s *space) data() *data {
	pa, _, _, _ := s.t.Lookup(dataBase)
	return (*data)(unsafe.Pointer(unsafe.SliceData(nucleus.Bytes(pa, 4096))))
}

func (s *space) close() {
	nucleus.ReleaseRoot(s.t.Root)
	s.t.Unmap(0, pagetable.UserEnd, nil)
	for _, f := range s.frames {
		nucleus.FreeFrames(f, 0)
	}
	nucleus.FreeUserContext(s.ctx)
	nucleus.FreeFrames(s.t.Root, 0)
}

// counts of what ended user mode.
var interrupts, faults, calls atomic.Int64

// runCheck runs the architecture's register check program to its end.
func runCheck(seed, mode, iterations uint64) error {
	s, err := newSpace(checkProgram(), codeBase)
	if err != nil {
		return err
	}
	defer s.close()
	s.data().Fill(seed, iterations, mode)
	var fault uint64
	if mode == modeFault {
		if fault, err = nucleus.AllocFrames(0, nucleus.OwnerUser); err != nil {
			return err
		}
		defer nucleus.FreeFrames(fault, 0)
	}
	for mapped := false; ; {
		e := nucleus.RunUser(s.ctx)
		switch e.Kind {
		case nucleus.EventInterrupt:
			interrupts.Add(1)
			runtime.Gosched()
		case nucleus.EventPageFault:
			faults.Add(1)
			if e.Addr&^4095 != faultPage || mapped || mode != modeFault {
				return fmt.Errorf("unexpected page fault at %#x, instruction %#x, code %#x", e.Addr, s.ctx.PC(), e.Code)
			}
			if err := s.t.Map(faultPage, fault, 4096, pagetable.User|pagetable.Write); err != nil {
				return err
			}
			mapped = true
		case nucleus.EventSyscall:
			calls.Add(1)
			nr, args := s.ctx.Syscall()
			if nr == callNothing {
				if mapped { // the next access shall fault again
					if err := s.t.Unmap(faultPage, 4096, nil); err != nil {
						return err
					}
					nucleus.ShootdownUser(s.t.Root, faultPage, 4096)
					mapped = false
				}
				s.ctx.SetReturn(0)
				if mapped { // the next turn faults again
					s.t.Unmap(faultPage, 4096, nil)
					nucleus.ShootdownUser(s.t.Root, faultPage, 4096)
					mapped = false
				}
				continue
			}
			return ended(nr, args[0])
		default:
			n, code := e.Signal()
			return fmt.Errorf("unexpected exception %s (signal %d, code %d) at %#x", e.Name(), n, code, s.ctx.PC())
		}
	}
}

func ended(nr, arg uint64) error {
	switch nr {
	case callDone:
		return nil
	case callFailed:
		return fmt.Errorf("user register %s (%d) has changed", registerName(arg), arg)
	}
	return fmt.Errorf("system call %d", nr)
}

// registers runs check programs with several contexts at once, beside Go code that uses
// vector registers itself.
func registers(mode, iterations uint64) (string, error) {
	interrupts.Store(0)
	faults.Store(0)
	calls.Store(0)
	var stop atomic.Bool
	var load, users sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		load.Go(func() {
			for !stop.Load() {
				series(1000)
				runtime.Gosched()
			}
		})
	}
	errs := make([]error, 2*runtime.GOMAXPROCS(0))
	for i := range errs {
		users.Go(func() { errs[i] = runCheck(uint64(i+1), mode, iterations) })
	}
	users.Wait()
	stop.Store(true)
	load.Wait()
	if mode == modeSpin && interrupts.Load() == 0 {
		errs = append(errs, errors.New("user mode was never interrupted"))
	}
	return fmt.Sprintf("%d programs of %d turns, %d system calls, %d faults, %d interrupts",
		len(errs), iterations, calls.Load(), faults.Load(), interrupts.Load()), errors.Join(errs...)
}

// hazardous runs every hazard, and after each checks that the kernel's own state is sane.
func hazardous() (string, error) {
	n := 0
	for _, h := range hazards() {
		if err := runHazard(h); err != nil {
			return "", fmt.Errorf("%s: %w", h.Name, err)
		}
		if err := sane(); err != nil {
			return "", fmt.Errorf("after %s: %w", h.Name, err)
		}
		n++
	}
	return fmt.Sprintf("%d tried", n), nil
}

func runHazard(h hazard) error {
	at := h.At
	if at == 0 {
		at = codeBase
	}
	s, err := newSpace(h.Code, at)
	if err != nil {
		return err
	}
	defer s.close()
	next := func() nucleus.Event {
		for {
			if e := nucleus.RunUser(s.ctx); e.Kind != nucleus.EventInterrupt {
				return e
			}
		}
	}
	e := next()
	if err := sane(); err != nil { // at once: the next system call would tidy up
		return err
	}
	switch h.Want {
	case wantSyscall:
		if e.Kind != nucleus.EventSyscall {
			return fmt.Errorf("ended with %s at %#x, want a system call", e.Name(), s.ctx.PC())
		}
		if h.Then != 0 {
			if e := next(); e.Kind != nucleus.EventException || e.Vector != h.Then-1 {
				return fmt.Errorf("then %s (kind %d) at %#x, want exception %d", e.Name(), e.Kind, s.ctx.PC(), h.Then-1)
			}
		}
	case wantPageFault:
		if e.Kind != nucleus.EventPageFault || e.Addr != h.Addr {
			return fmt.Errorf("ended with %s, address %#x, want a page fault at %#x", e.Name(), e.Addr, h.Addr)
		}
	default:
		if e.Kind != nucleus.EventException || e.Vector != h.Vector && (h.Or == 0 || e.Vector != h.Or) {
			return fmt.Errorf("ended with %s (kind %d, exception %d) at %#x, want exception %d", e.Name(), e.Kind, e.Vector, s.ctx.PC(), h.Vector)
		}
	}
	return nil
}

// sane looks at what a user could have spoiled: direction of copies, rounding and masks of
// floating point, alignment.
func sane() error {
	if err := checkState(); err != nil {
		return err
	}
	var b [100]byte
	for i := range b {
		b[i] = byte(i)
	}
	copy(b[1:], b[:99])
	for i := 1; i < len(b); i++ {
		if b[i] != byte(i-1) {
			return errors.New("overlapping copies go wrong")
		}
	}
	zero := float64(runtime.GOMAXPROCS(0) / (1 << 30)) // 0, which the compiler does not know
	if v := 1 / zero; !math.IsInf(v, 1) {
		return fmt.Errorf("1/0 is %v", v)
	}
	if v := (1 + zero) / 3; v != 0x1.5555555555555p-2 {
		return fmt.Errorf("1/3 is %x", v)
	}
	if v := *(*uint64)(unsafe.Pointer(&b[1])); v != 0x0706050403020100 {
		return fmt.Errorf("unaligned load is %#x", v)
	}
	return nil
}

// interrupting: InterruptUser ends an endless loop in user mode, and one that comes first is
// not lost.
func interrupting() (string, error) {
	s, err := newSpace(checkProgram(), codeBase)
	if err != nil {
		return "", err
	}
	defer s.close()
	s.data().Fill(1, 1, modeSpin)
	s.data().Spin = 1 << 62
	nucleus.InterruptUser(s.ctx)
	if e := nucleus.RunUser(s.ctx); e.Kind != nucleus.EventInterrupt {
		return "", errors.New("an interrupt before user mode was lost")
	}
	const n = 50
	var stop atomic.Bool
	seen := make(chan time.Time)
	go func() {
		for !stop.Load() {
			if e := nucleus.RunUser(s.ctx); e.Kind != nucleus.EventInterrupt {
				return
			}
			select {
			case seen <- time.Now():
			default:
			}
			runtime.Gosched()
		}
		close(seen)
	}()
	var worst time.Duration
	for range n {
		time.Sleep(time.Millisecond)
		start := time.Now()
		nucleus.InterruptUser(s.ctx)
		select {
		case at := <-seen:
			worst = max(worst, at.Sub(start))
		case <-time.After(30 * time.Second):
			return "", errors.New("user mode did not stop")
		}
	}
	stop.Store(true)
	nucleus.InterruptUser(s.ctx)
	for range seen {
	}
	return fmt.Sprintf("%d times, slowest %v", n, worst.Round(time.Microsecond)), nil
}
