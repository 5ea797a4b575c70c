//go:build amd64

package boot

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/task"
)

// This file is a CPU for the personality on an ordinary Linux host: user code runs in an empty traced process per
// address space, whose system calls are intercepted (PTRACE_SYSEMU) and whose memory is pages of one memfd, the
// "physical memory". It needs no KVM and runs the same task, mm, loader and syscalls code as the guest.

// hostMachine implements mm.Hardware and task.Machine.
type hostMachine struct {
	fd   int
	mem  []byte
	stub string

	mu   sync.Mutex
	free []uint64
	cpu  atomic.Int32
	refs []int32
	used int

	tables sync.Map // root -> *hostTable
	roots  atomic.Uint64
}

const hostFrames = 64 << 10

// The stub is two instructions at a fixed place: SYSCALL; INT3.
const stubText = 0x7fffe0001000

func newHostMachine(t testing.TB) *hostMachine {
	t.Helper()
	dir := t.TempDir()
	src, stub := filepath.Join(dir, "stub.S"), filepath.Join(dir, "stub")
	if err := os.WriteFile(src, []byte(".globl _start\n_start: syscall\nint3\n1: jmp 1b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x7fffe0001000,--build-id=none,-z,noseparate-code,-z,noexecstack", "-o", stub, src).CombinedOutput()
	if err != nil {
		t.Skipf("no C compiler for the host CPU's stub: %v %s", err, out)
	}
	fd, err := unix.MemfdCreate("frames", 0)
	if err != nil {
		t.Fatal(err)
	}
	size := (hostFrames + 1) * mm.PageSize
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	m := &hostMachine{fd: fd, mem: mem, stub: stub, refs: make([]int32, hostFrames+1)}
	for i := hostFrames; i > 0; i-- {
		m.free = append(m.free, uint64(i)*mm.PageSize)
	}
	t.Cleanup(func() {
		unix.Munmap(mem)
		unix.Close(fd)
	})
	return m
}

func (m *hostMachine) Alloc() (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.free) == 0 {
		return 0, unix.ENOMEM
	}
	p := m.free[len(m.free)-1]
	m.free = m.free[:len(m.free)-1]
	m.refs[p/mm.PageSize] = 1
	m.used++
	clear(m.mem[p : p+mm.PageSize])
	return p, nil
}

func (m *hostMachine) Ref(p uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refs[p/mm.PageSize] <= 0 {
		panic("reference to a free frame")
	}
	m.refs[p/mm.PageSize]++
}

func (m *hostMachine) Unref(p uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.refs[p/mm.PageSize]
	if *r <= 0 {
		panic("release of a free frame")
	}
	if *r--; *r == 0 {
		m.free = append(m.free, p)
		m.used--
	}
}

func (m *hostMachine) RefCount(p uint64) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int(m.refs[p/mm.PageSize])
}

func (m *hostMachine) Bytes(p uint64) []byte { return m.mem[p : p+mm.PageSize : p+mm.PageSize] }

func (m *hostMachine) inUse() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func (m *hostMachine) CPUs() int { return 2 }
func (m *hostMachine) CPU() int  { return int(m.cpu.Load()) }

// Waiting cannot be known: others may always wait.
func (m *hostMachine) Waiting() bool { return true }
func (m *hostMachine) Keep() bool    { return false }

// MoveTo pretends: a context is wherever it may be.
func (m *hostMachine) MoveTo(cpus uint64) bool {
	m.cpu.Store(int32(bits.TrailingZeros64(cpus)))
	return true
}

// hostTable is an address space: a traced process and the thread that traces it.
type hostTable struct {
	m       *hostMachine
	root    uint64
	pid     int
	ops     chan func()
	running atomic.Bool
	prot    map[uint64]mm.Prot // pages in the process; tracer thread only
}

func (m *hostMachine) NewTable() (mm.PageTable, error) {
	h := &hostTable{m: m, root: m.roots.Add(1) * mm.PageSize, ops: make(chan func()), prot: make(map[uint64]mm.Prot)}
	started := make(chan error)
	go h.trace(started)
	if err := <-started; err != nil {
		return nil, err
	}
	m.tables.Store(h.root, h)
	return h, nil
}

// trace is the goroutine that all ptrace requests of the process come from.
func (h *hostTable) trace(started chan<- error) {
	runtime.LockOSThread()
	pid, err := syscall.ForkExec(h.m.stub, []string{"stub"}, &syscall.ProcAttr{
		Files: []uintptr{0, 1, 2, uintptr(h.m.fd)}, Sys: &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		started <- err
		return
	}
	h.pid = pid
	var ws syscall.WaitStatus
	syscall.Wait4(pid, &ws, 0, nil)
	syscall.PtraceSetOptions(pid, syscall.PTRACE_O_TRACESYSGOOD|0x100000 /* EXITKILL */)
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	for _, line := range strings.Split(string(maps), "\n") {
		var lo, hi uint64
		if n, _ := fmt.Sscanf(line, "%x-%x", &lo, &hi); n == 2 && lo < mm.UserTop && (lo > stubText || hi <= stubText) {
			h.inject(unix.SYS_MUNMAP, lo, hi-lo)
		}
	}
	started <- nil
	for op := range h.ops {
		op()
	}
	syscall.Kill(pid, syscall.SIGKILL)
	syscall.Wait4(pid, &ws, 0, nil)
}

// inject makes the process execute a system call. Tracer thread, process stopped.
func (h *hostTable) inject(nr uint64, args ...uint64) int64 {
	var a [6]uint64
	copy(a[:], args)
	regs := syscall.PtraceRegs{
		Rip: stubText, Rax: nr, Orig_rax: ^uint64(0), Rdi: a[0], Rsi: a[1], Rdx: a[2], R10: a[3], R8: a[4], R9: a[5], Cs: 0x33, Ss: 0x2b, Eflags: 0x202,
	}
	for {
		if err := syscall.PtraceSetRegs(h.pid, &regs); err != nil {
			panic(err)
		}
		if err := syscall.PtraceSingleStep(h.pid); err != nil {
			panic(err)
		}
		var ws syscall.WaitStatus
		if _, err := syscall.Wait4(h.pid, &ws, 0, nil); err != nil {
			panic(err)
		}
		var out syscall.PtraceRegs
		syscall.PtraceGetRegs(h.pid, &out)
		if ws.Stopped() && ws.StopSignal() == syscall.SIGTRAP && out.Rip == stubText+2 {
			return int64(out.Rax)
		}
		if !ws.Stopped() {
			panic(fmt.Sprintf("traced process ended: %#x", ws))
		}
		// A late kick: try again.
	}
}

// do runs op on the tracer thread with the process stopped.
func (h *hostTable) do(op func()) {
	done := make(chan struct{})
	f := func() { op(); close(done) }
	for {
		if h.running.Load() {
			syscall.Kill(h.pid, syscall.SIGUSR1)
		}
		select {
		case h.ops <- f:
			<-done
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (h *hostTable) Map(va, phys uint64, prot mm.Prot) error {
	h.do(func() {
		h.prot[va] = prot
		if r := h.inject(unix.SYS_MMAP, va, mm.PageSize, uint64(prot), unix.MAP_SHARED|unix.MAP_FIXED, 3, phys); r != int64(va) {
			panic(fmt.Sprintf("map %#x: %d", va, r))
		}
	})
	return nil
}

func (h *hostTable) Unmap(start, end uint64) {
	h.do(func() {
		for va := range h.prot {
			if va >= start && va < end {
				delete(h.prot, va)
				h.inject(unix.SYS_MUNMAP, va, mm.PageSize)
			}
		}
	})
}

func (h *hostTable) Flush(_, _ uint64) {}
func (h *hostTable) Root() uint64      { return h.root }
func (h *hostTable) Release() {
	h.m.tables.Delete(h.root)
	close(h.ops)
}

// hostContext is a user thread's registers.
type hostContext struct {
	regs   task.Regs
	vector []byte
	table  atomic.Pointer[hostTable]
	m      *hostMachine
	loaded uint32
	kick   atomic.Bool
	cpus   uint64
	again  int
}

// hostVector is the size of the host CPU's XSAVE image in standard format; a shorter one is refused.
var hostVector = 0

// probeVector asks a traced process for the size of its vector state.
func probeVector() (n int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		panic(err)
	}
	var ws syscall.WaitStatus
	syscall.Wait4(pid, &ws, 0, nil)
	n = (&hostTable{pid: pid}).xstate(0x4204, make([]byte, 64<<10))
	syscall.Kill(pid, syscall.SIGKILL)
	syscall.Wait4(pid, &ws, 0, nil)
	return n
}

func hostInitialVector() []byte {
	v := make([]byte, hostVector)
	binary.LittleEndian.PutUint16(v[0:], 0x37f)
	binary.LittleEndian.PutUint32(v[24:], 0x1f80)
	binary.LittleEndian.PutUint64(v[512:], 3)
	return v
}

func (m *hostMachine) NewContext() (task.Context, error) {
	sizeOnce.Do(func() { hostVector = probeVector() })
	return &hostContext{m: m, cpus: 3, vector: hostInitialVector()}, nil
}

func (c *hostContext) Syscall() (uint64, [6]uint64) {
	r := &c.regs
	return r.OrigAX, [6]uint64{r.DI, r.SI, r.DX, r.R10, r.R8, r.R9}
}
func (c *hostContext) Result() *uint64            { return &c.regs.AX }
func (c *hostContext) Loaded() *uint32            { return &c.loaded }
func (c *hostContext) SetReturn(v int64)          { c.regs.AX = uint64(v) }
func (c *hostContext) Return() int64              { return int64(c.regs.AX) }
func (c *hostContext) RestartSyscall()            { c.regs.AX = c.regs.OrigAX; c.regs.IP -= 2 }
func (c *hostContext) PC() uint64                 { return c.regs.IP }
func (c *hostContext) SP() uint64                 { return c.regs.SP }
func (c *hostContext) SetSP(v uint64)             { c.regs.SP = v }
func (c *hostContext) TLS() uint64                { return c.regs.FSBase }
func (c *hostContext) SetTLS(v uint64)            { c.regs.FSBase = v }
func (c *hostContext) Regs() *task.Regs           { return &c.regs }
func (c *hostContext) SaveVector()                {}
func (c *hostContext) VectorState() []byte        { return c.vector }
func (c *hostContext) Release()                   {}
func (c *hostContext) SetIdentity(*task.Identity) {}
func (c *hostContext) SetAllowed(m uint64)        { c.cpus = m }
func (c *hostContext) Interrupting() bool {
	h := c.table.Load()
	return h != nil && c.kick.Load() && h.running.Load()
}
func (c *hostContext) LastCPU() int { return bits.TrailingZeros64(c.cpus | 1<<63) }
func (c *hostContext) Reset(entry, sp uint64) {
	c.regs = task.Regs{IP: entry, SP: sp, CS: 0x33, SS: 0x2b, Flags: 0x202, OrigAX: ^uint64(0)}
}
func (c *hostContext) CopyFrom(o task.Context) {
	s := o.(*hostContext)
	c.regs = s.regs
	copy(c.vector, s.vector)
}
func (c *hostContext) SetVectorState(b []byte) bool {
	if b == nil {
		c.vector = hostInitialVector()
		return true
	}
	copy(c.vector, b)
	return true
}
func (c *hostContext) SetRoot(root uint64) {
	h, _ := c.m.tables.Load(root)
	c.table.Store(h.(*hostTable))
}
func (c *hostContext) Interrupt() {
	c.kick.Store(true)
	if h := c.table.Load(); h != nil && h.running.Load() {
		syscall.Kill(h.pid, syscall.SIGUSR1)
	}
}

var sizeOnce sync.Once

type iovec struct {
	base unsafe.Pointer
	len  uint64
}

func (h *hostTable) xstate(request uintptr, b []byte) int {
	v := iovec{unsafe.Pointer(&b[0]), uint64(len(b))}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, request, uintptr(h.pid), 0x202 /* NT_X86_XSTATE */, uintptr(unsafe.Pointer(&v)), 0, 0)
	runtime.KeepAlive(b)
	if errno != 0 {
		panic(fmt.Sprintf("vector state of %d bytes: %v", len(b), errno))
	}
	return int(v.len)
}

func (m *hostMachine) Run(ctx task.Context, ev *task.Event) {
	*ev = m.run(ctx)
	ev.Nr, ev.Args = ctx.Syscall()
}

func (m *hostMachine) run(ctx task.Context) (ev task.Event) {
	c := ctx.(*hostContext)
	if c.cpus == 0 {
		return task.Event{Kind: task.EventElsewhere}
	}
	if c.kick.Swap(false) {
		return task.Event{Kind: task.EventInterrupt}
	}
	if c.again > 0 {
		c.again--
		return task.Event{Kind: task.EventSyscall}
	}
	h := c.table.Load()
	h.do(func() { ev = h.run(c) })
	if nr, args := c.Syscall(); ev.Kind == task.EventSyscall && nr == repeatCall {
		c.again = int(args[0])
		c.SetReturn(0)
		h.do(func() { ev = h.run(c) })
	}
	return ev
}

// repeatCall is a call of the host CPU itself: the next system call is made as many times more as its argument says, without user mode in
// between. Benchmarks use it.
const repeatCall = 0x52494e47

func (h *hostTable) run(c *hostContext) task.Event {
	regs := *(*syscall.PtraceRegs)(unsafe.Pointer(&syscall.PtraceRegs{}))
	r := &c.regs
	regs = syscall.PtraceRegs{
		R15: r.R15, R14: r.R14, R13: r.R13, R12: r.R12, Rbp: r.BP, Rbx: r.BX, R11: r.R11, R10: r.R10, R9: r.R9, R8: r.R8,
		Rax: r.AX, Rcx: r.CX, Rdx: r.DX, Rsi: r.SI, Rdi: r.DI, Orig_rax: ^uint64(0), Rip: r.IP, Cs: 0x33, Eflags: r.Flags, Rsp: r.SP, Ss: 0x2b,
		Fs_base: r.FSBase, Gs_base: r.GSBase,
	}
	if err := syscall.PtraceSetRegs(h.pid, &regs); err != nil {
		return task.Event{Kind: task.EventException, Signal: unix.SIGSEGV, Code: 0x80}
	}
	h.xstate(0x4205, c.vector)
	h.running.Store(true)
	tick := time.AfterFunc(20*time.Millisecond, func() { syscall.Kill(h.pid, syscall.SIGUSR1) })
	syscall.RawSyscall6(syscall.SYS_PTRACE, 31 /* SYSEMU */, uintptr(h.pid), 0, 0, 0, 0)
	var ws syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(h.pid, &ws, 0, nil); err != syscall.EINTR {
			break
		}
	}
	tick.Stop()
	h.running.Store(false)
	if !ws.Stopped() {
		panic(fmt.Sprintf("traced process ended: %#x", ws))
	}
	syscall.PtraceGetRegs(h.pid, &regs)
	h.xstate(0x4204, c.vector)
	*r = task.Regs{
		R15: regs.R15, R14: regs.R14, R13: regs.R13, R12: regs.R12, BP: regs.Rbp, BX: regs.Rbx, R11: regs.R11, R10: regs.R10, R9: regs.R9, R8: regs.R8,
		AX: regs.Rax, CX: regs.Rcx, DX: regs.Rdx, SI: regs.Rsi, DI: regs.Rdi, OrigAX: regs.Orig_rax, IP: regs.Rip, CS: regs.Cs, Flags: regs.Eflags, SP: regs.Rsp, SS: regs.Ss,
		FSBase: regs.Fs_base, GSBase: regs.Gs_base,
	}
	sig := ws.StopSignal()
	if sig == syscall.SIGTRAP|0x80 || sig == syscall.SIGTRAP && int64(r.OrigAX) >= 0 {
		return task.Event{Kind: task.EventSyscall}
	}
	r.OrigAX = ^uint64(0)
	if sig == syscall.SIGUSR1 {
		return task.Event{Kind: task.EventInterrupt}
	}
	var info [128]byte
	syscall.RawSyscall6(syscall.SYS_PTRACE, 0x4202, uintptr(h.pid), 0, uintptr(unsafe.Pointer(&info[0])), 0, 0)
	code := int32(binary.LittleEndian.Uint32(info[8:]))
	addr := binary.LittleEndian.Uint64(info[16:])
	if sig == syscall.SIGSEGV && code != 0x80 {
		prot, mapped := h.prot[addr&^(mm.PageSize-1)]
		access := mm.Read
		switch {
		case addr&^0xfff == r.IP&^0xfff && prot&mm.Exec == 0:
			access = mm.Exec
		case mapped:
			access = mm.Write
		}
		return task.Event{Kind: task.EventPageFault, Addr: addr, Access: access}
	}
	return task.Event{Kind: task.EventException, Signal: unix.Signal(sig), Code: code, Addr: r.IP}
}
