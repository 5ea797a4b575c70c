package doctor

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"ringo/internal/kvm"
)

// guest is a probe guest: a VM, one vCPU, one slot of RAM. All its methods belong to the
// goroutine that made it, which is locked to its thread until close.
type guest struct {
	vm      *archVM
	v       *archVCPU
	release func()
	memory
}

// memory is the guest's RAM: a memfd mapped twice, as the monitor does it.
type memory struct {
	view []byte // the memory slot's
	own  []byte // the monitor's
}

func newMemory(size int) (m memory, err error) {
	fd, err := unix.MemfdCreate("ringo-probe", unix.MFD_CLOEXEC)
	if err != nil {
		return m, fmt.Errorf("memfd_create: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return m, fmt.Errorf("ftruncate of a memfd to %d bytes: %w", size, err)
	}
	for _, to := range []*[]byte{&m.view, &m.own} {
		if *to, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			m.unmap()
			return memory{}, fmt.Errorf("mmap of a memfd: %w", err)
		}
	}
	return m, nil
}

func (m *memory) unmap() {
	for _, b := range []*[]byte{&m.view, &m.own} {
		if *b != nil {
			_ = unix.Munmap(*b)
			*b = nil
		}
	}
}

// newGuest is a guest that stands at the first instruction of p.
func newGuest(p program, arg0 uint64) (_ *guest, err error) {
	g := new(guest)
	runtime.LockOSThread()
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if g.memory, err = newMemory(ramSize); err != nil {
		return nil, err
	}
	copy(g.own, image(p))
	if g.vm, err = newVM(1); err != nil {
		return nil, err
	}
	if err = g.vm.SetMemory(0, 0, ramBase, ramSize, address(g.view)); err != nil {
		return nil, err
	}
	if g.v, err = g.vm.NewVCPU(0); err != nil {
		return nil, err
	}
	g.release = g.v.Bind()
	if err = g.vm.StartInterrupts(); err != nil {
		return nil, err
	}
	return g, start(g.v, arg0)
}

func (g *guest) close() {
	if g.release != nil {
		g.release()
	}
	if g.v != nil {
		g.v.Close()
	}
	if g.vm != nil {
		g.vm.Close()
	}
	g.unmap()
	runtime.UnlockOSThread()
}

// run runs the guest until it leaves or ctx ends.
func (g *guest) run(ctx context.Context, x *kvm.Exit) error {
	kicked := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		g.v.Kick()
		close(kicked)
	})
	defer func() {
		if !stop() {
			<-kicked // it must not outlive the vCPU
		}
	}()
	for {
		err := g.v.Run(x)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, kvm.ErrInterrupted):
			continue
		case errors.Is(err, kvm.ErrKicked):
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		default:
			return fmt.Errorf("KVM_RUN: %w", err)
		}
	}
}

// finish runs the guest to its program's end.
func (g *guest) finish(ctx context.Context) error {
	var x kvm.Exit
	if err := g.run(ctx, &x); err != nil {
		return err
	}
	return g.end(&x)
}

// end is nil for the exit at the program's end, and says what any other exit means.
func (g *guest) end(x *kvm.Exit) error {
	if x.Reason == kvm.ReasonInternalError && len(x.Instructions) > 0 {
		return fmt.Errorf("KVM_EXIT_INTERNAL_ERROR, suberror %d: KVM emulates %s and cannot emulate the instruction % x",
			x.Code, ringZero, x.Instructions[:min(len(x.Instructions), 8)])
	}
	return ended(g.v, x, func(gva uint64, n int) []byte {
		off := gva - ramBase
		if off > ramSize || uint64(n) > ramSize-off {
			return nil
		}
		return g.own[off : off+uint64(n)]
	})
}

// page is the guest's data page.
func (g *guest) page() []byte { return g.own[data-ramBase:][:4096] }

func (g *guest) pc() (uint64, error) {
	r, err := g.v.Registers()
	if err != nil {
		return 0, err
	}
	return r.PC(), nil
}
