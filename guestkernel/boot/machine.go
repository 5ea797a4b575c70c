package boot

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
	"ringo/internal/bootinfo"
)

// reserve is how many frames programs leave to the kernel's own heap: running out of that ends the
// machine, while a program that finds no frame is killed alone.
var reserve atomic.Uint64

// setReserve keeps a sixteenth of the machine, and not less than 8 MiB, for the kernel.
func setReserve(total uint64) { reserve.Store(max(total/16, 8<<20>>mm.PageShift)) }

// takeFrame allocates a frame for programs: their memory, page tables or files.
func takeFrame(owner nucleus.Owner) (uint64, error) {
	if nucleus.FreeFrameCount() < reserve.Load() {
		return 0, unix.ENOMEM
	}
	phys, err := nucleus.AllocFrames(0, owner)
	if err != nil {
		return 0, unix.ENOMEM
	}
	return phys, nil
}

// frames is the nucleus's physical memory as mm and vfs see it.
type frames struct{ owner nucleus.Owner }

// Alloc implements mm.Frames.
func (f frames) Alloc() (uint64, error) { return takeFrame(f.owner) }

// Ref implements mm.Frames.
func (frames) Ref(phys uint64) { nucleus.Ref(phys) }

// Unref implements mm.Frames.
func (frames) Unref(phys uint64) {
	if nucleus.Unref(phys) == 0 {
		nucleus.FreeFrames(phys, 0)
	}
}

// RefCount implements mm.Frames.
func (frames) RefCount(phys uint64) int { return nucleus.RefCount(phys) }

// Bytes implements mm.Frames.
func (frames) Bytes(phys uint64) []byte { return nucleus.Bytes(phys, mm.PageSize) }

// hardware implements mm.Hardware and task.Machine over the nucleus.
type hardware struct{ frames }

// NewTable implements mm.Hardware.
func (hardware) NewTable() (mm.PageTable, error) {
	root, err := takeFrame(nucleus.OwnerPageTable)
	if err != nil {
		return nil, err
	}
	nucleus.CopyKernelHalf(root)
	p := &pageTable{}
	p.tree = table{Root: root, Mem: p}
	return p, nil
}

// pageTable is one user address space's tables. The space's lock serialises all calls.
type pageTable struct {
	tree table
	// empty are tables that were unlinked and may be in a TLB until the next flush.
	empty []uint64
}

// Table implements pagetable.Memory.
func (*pageTable) Table(gpa uint64) *[512]uint64 { return tablePage(gpa) }

// AllocTable implements pagetable.Memory.
func (*pageTable) AllocTable() (uint64, bool) {
	gpa, err := takeFrame(nucleus.OwnerPageTable)
	return gpa, err == nil
}

// FreeTable implements pagetable.Memory.
func (p *pageTable) FreeTable(gpa uint64) { p.empty = append(p.empty, gpa) }

// Map implements mm.PageTable. A page that is there already is taken out of all TLBs before the new
// one goes in, as arm64 demands (break-before-make).
func (p *pageTable) Map(va, phys uint64, prot mm.Prot) error {
	hw := protUser | protRead
	if prot&mm.Write != 0 {
		hw |= protWrite
	}
	if prot&mm.Exec != 0 {
		hw |= protExec
		nucleus.SyncCode(directMap(phys), mm.PageSize)
	}
	if old, ok := p.tree.Leaf(va); ok {
		if old.PA == phys {
			if err := p.tree.Protect(va, mm.PageSize, hw); err != nil {
				return unix.ENOMEM
			}
			tableBarrier()
			if staleRightsStay {
				nucleus.ShootdownUser(p.tree.Root, va, mm.PageSize)
			}
			return nil
		}
		p.Unmap(va, va+mm.PageSize)
		p.Flush(va, va+mm.PageSize)
	}
	if err := p.tree.Map(va, phys, mm.PageSize, hw); err != nil {
		return unix.ENOMEM
	}
	tableBarrier()
	return nil
}

// Unmap implements mm.PageTable.
func (p *pageTable) Unmap(start, end uint64) {
	// Only large pages can fail to be unmapped (they are split), and there are none.
	if err := p.tree.Unmap(start, end-start, nil); err != nil {
		panic("unmapping user pages: " + err.Error())
	}
	tableBarrier()
}

// Flush implements mm.PageTable.
func (p *pageTable) Flush(start, end uint64) {
	nucleus.ShootdownUser(p.tree.Root, start, end-start)
	for _, gpa := range p.empty {
		nucleus.FreeFrames(gpa, 0)
	}
	p.empty = p.empty[:0]
}

// Root implements mm.PageTable.
func (p *pageTable) Root() uint64 { return p.tree.Root }

// Release implements mm.PageTable.
func (p *pageTable) Release() {
	nucleus.ReleaseRoot(p.tree.Root)
	for _, gpa := range p.empty {
		nucleus.FreeFrames(gpa, 0)
	}
	nucleus.FreeFrames(p.tree.Root, 0)
}

// CPUs implements task.Machine.
func (hardware) CPUs() int { return int(nucleus.BootInfo().CPUs) }

// CPU implements task.Machine.
func (hardware) CPU() int { return currentCPU() }

// Waiting implements task.Machine.
func (hardware) Waiting() bool { return nucleus.Waiting() }

// Keep implements task.Machine.
func (hardware) Keep() bool { return nucleus.Keep() }

// MoveTo implements task.Machine.
func (hardware) MoveTo(cpus uint64) bool { return nucleus.MoveTo(cpus) }

// NewContext implements task.Machine.
func (hardware) NewContext() (task.Context, error) {
	c, err := nucleus.NewUserContext()
	if err != nil {
		return nil, unix.ENOMEM
	}
	return &userContext{UserContext: c}, nil
}

// Run implements task.Machine.
func (*hardware) Run(c task.Context, ev *task.Event) {
	if !userReached.Load() && userReached.CompareAndSwap(false, true) {
		nucleus.Stamp(bootinfo.PhaseUser)
	}
	u := c.(*userContext).UserContext
	if !nucleus.EnterUser(u) {
		if e := nucleus.Left(u); e.Kind != nucleus.EventSyscall {
			*ev = event(e)
			return
		}
	}
	ev.Kind = task.EventSyscall
	ev.Nr, ev.Args = u.Syscall()
}

// event says in the personality's words why user mode stopped.
func event(e nucleus.Event) task.Event {
	ev := task.Event{Addr: e.Addr, Trap: uint64(e.Vector), Error: e.Code}
	switch e.Kind {
	case nucleus.EventPageFault:
		ev.Kind = task.EventPageFault
		switch e.Access {
		case nucleus.AccessWrite:
			ev.Access = mm.Write
		case nucleus.AccessExec:
			ev.Access = mm.Exec
		default:
			ev.Access = mm.Read
		}
	case nucleus.EventAway:
		ev.Kind = task.EventAgain
	case nucleus.EventElsewhere:
		ev.Kind = task.EventElsewhere
	case nucleus.EventException:
		ev.Kind = task.EventException
		sig, code := e.Signal()
		ev.Signal, ev.Code = unix.Signal(sig), code
		if code == task.CodeKernel {
			ev.Addr = 0
		}
	default:
		ev.Kind = task.EventInterrupt
	}
	return ev
}

// userReached says that user mode has been entered once.
var userReached atomic.Bool

// userContext adapts ring0's user context to tasks.
type userContext struct {
	*nucleus.UserContext
	once sync.Once
}

// SetIdentity implements task.Context.
func (c *userContext) SetIdentity(id *task.Identity) {
	if id == nil {
		c.UserContext.SetIdentity(nil)
		return
	}
	c.UserContext.SetIdentity(&nucleus.Identity{PID: id.PID, TID: id.TID, UID: id.UID, EUID: id.EUID, GID: id.GID, EGID: id.EGID})
}

// CopyFrom implements task.Context.
func (c *userContext) CopyFrom(o task.Context) {
	from := o.(*userContext).UserContext
	nucleus.SaveVector(from)
	c.UserContext.CopyFrom(from)
}

// SaveVector implements task.Context.
func (c *userContext) SaveVector() { nucleus.SaveVector(c.UserContext) }

// VectorState implements task.Context.
func (c *userContext) VectorState() []byte {
	nucleus.SaveVector(c.UserContext)
	return c.UserContext.VectorState()
}

// Regs implements task.Context.
func (c *userContext) Regs() *task.Regs { return abiRegs(c.UserContext.Regs()) }

// SetVectorState implements task.Context.
func (c *userContext) SetVectorState(b []byte) bool {
	if b == nil {
		b = make([]byte, len(c.VectorState()))
		initialVector(b)
	}
	return c.UserContext.SetVectorState(b)
}

// Interrupt implements task.Context.
func (c *userContext) Interrupt() { nucleus.InterruptUser(c.UserContext) }

// Release implements task.Context.
func (c *userContext) Release() { c.once.Do(func() { nucleus.FreeUserContext(c.UserContext) }) }
