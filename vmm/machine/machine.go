// Package machine is the virtual machine: guest RAM, vCPU threads, the devices' place in the
// guest's address space, and the machine's life from New to Close.
//
// Order of use: New, AddMMIO/AddPIO/NewVirtioWindow for the devices, load the kernel into
// Memory, Run once, Close. Close is due after New whatever else happened.
//
// Threads: one locked OS thread a vCPU, which also performs the devices' register accesses. Devices
// with work of their own have goroutines of their own, ended by their owner before Close.
// Lock order: none of the locks here is held while another is taken.
package machine

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"ringo/internal/bootinfo"
)

// Config describes a machine.
type Config struct {
	CPUs   int    // 1 to bootinfo.MaxCPUs
	Memory uint64 // bytes of RAM, a multiple of 1 MiB
	// UnclaimedLimit is after how many accesses to addresses where nothing is the guest
	// is stopped with a FatalExit; 0 means DefaultUnclaimedLimit.
	UnclaimedLimit uint64
}

// DefaultUnclaimedLimit lets a kernel probe, and ends one that stores through a wild
// pointer for ever.
const DefaultUnclaimedLimit = 10_000

// Sizes of RAM that are accepted, bytes.
const (
	MinMemory = 16 << 20
	MaxMemory = 128 << 30
)

// Entry is where and with what every vCPU starts.
type Entry struct {
	PC    uint64 // GVA
	Root  uint64 // GPA of the boot page tables
	Arg   uint64 // GPA of the boot info page; the CPU number is the second argument
	Early uint64 // GVA of the early exception vectors, 0 for none
	Image Image  // for reports
}

// Image says where the kernel image lies, so that reports can give link-time addresses.
type Image struct{ Phys, Virt, Size uint64 }

// Machine is one virtual machine.
type Machine struct {
	cfg   Config
	vm    *archVM
	mem   *Memory
	cpus  []*cpu
	mmio  bus
	pio   bus
	owned []io.Closer // eventfds of interrupts
	early uint64
	start time.Time

	windows   []bootinfo.MMIO
	devices   []VirtioDevice
	notify    []*EventFD
	notifiers sync.WaitGroup

	pausing  pausing
	tracer   Tracer
	started  chan struct{} // closed when Run has set the entry state
	stopOnce sync.Once
	stopped  chan struct{} // closed by the first stop
	stop     Stop
	running  bool
}

// New creates the VM, its RAM, its vCPUs and its interrupt controller. Errors wrap
// kvm.ErrNoDevice, kvm.ErrPermission or ErrConfig where they are that.
func New(cfg Config) (_ *Machine, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.UnclaimedLimit == 0 {
		cfg.UnclaimedLimit = DefaultUnclaimedLimit
	}
	m := &Machine{cfg: cfg, mmio: bus{kind: "MMIO"}, pio: bus{kind: "I/O port"}, stopped: make(chan struct{}), started: make(chan struct{})}
	m.pausing.changed = sync.NewCond(&m.pausing.mu)
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.vm, err = newVM(cfg.CPUs); err != nil {
		return nil, err
	}
	if limit := m.vm.MaxCPUs(); cfg.CPUs > limit {
		return nil, fmt.Errorf("%w: %d vCPUs, this host's KVM can run %d", ErrConfig, cfg.CPUs, limit)
	}
	if limit := m.vm.MaxMemory(); cfg.Memory > limit {
		return nil, fmt.Errorf("%w: %d MiB of memory, this host's KVM can address %d MiB", ErrConfig, cfg.Memory>>20, limit>>20)
	}
	if m.mem, err = NewMemory(RAMRanges(cfg.Memory)); err != nil {
		return nil, err
	}
	for i := range m.mem.slots {
		s := &m.mem.slots[i]
		if err := m.vm.SetMemory(uint32(i), 0, s.Base, s.Size, s.kvm.hva()); err != nil {
			return nil, err
		}
	}
	for id := range cfg.CPUs {
		v, err := m.vm.NewVCPU(id)
		if err != nil {
			return nil, err
		}
		m.cpus = append(m.cpus, &cpu{m: m, v: v, still: true})
	}
	if err := m.vm.StartInterrupts(); err != nil {
		return nil, err
	}
	if powerPort != 0 {
		if err := m.AddPIO("power", powerPort, 4, (*power)(m)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ErrConfig is wrapped by errors about what the caller asked for.
var ErrConfig = errors.New("impossible machine")

func (c *Config) check() error {
	switch {
	case c.CPUs < 1 || c.CPUs > bootinfo.MaxCPUs:
		return fmt.Errorf("%w: %d vCPUs, want 1 to %d", ErrConfig, c.CPUs, bootinfo.MaxCPUs)
	case c.Memory < MinMemory:
		return fmt.Errorf("%w: %d bytes of memory, want at least %d MiB", ErrConfig, c.Memory, MinMemory>>20)
	case c.Memory > MaxMemory:
		return fmt.Errorf("%w: %d MiB of memory, want at most %d MiB", ErrConfig, c.Memory>>20, uint64(MaxMemory)>>20)
	case c.Memory%(1<<20) != 0:
		return fmt.Errorf("%w: %d bytes of memory, want a multiple of 1 MiB", ErrConfig, c.Memory)
	}
	return nil
}

// RAMRanges is where size bytes of RAM lie in the guest.
func RAMRanges(size uint64) []Range {
	low := min(size, lowRAMEnd-ramBase)
	ranges := []Range{{ramBase, low}}
	if size > low {
		ranges = append(ranges, Range{highRAMBase, size - low})
	}
	return ranges
}

// Close stops the devices and releases the machine. Run must have returned.
func (m *Machine) Close() error {
	m.pausing.mu.Lock()
	m.pausing.closed = true
	m.pausing.changed.Broadcast()
	m.pausing.mu.Unlock()
	for _, c := range m.cpus {
		c.access.Lock() // who is reading its registers
	}
	var errs []error
	for _, e := range m.notify {
		errs = append(errs, e.Close())
	}
	m.notifiers.Wait()
	for _, d := range m.devices {
		d.Close()
	}
	m.notify, m.devices = nil, nil
	for _, c := range m.cpus {
		errs = append(errs, c.v.Close())
	}
	for _, o := range m.owned {
		errs = append(errs, o.Close())
	}
	if m.vm != nil {
		errs = append(errs, m.vm.Close())
	}
	if m.mem != nil {
		errs = append(errs, m.mem.Close())
	}
	m.cpus, m.owned, m.vm, m.mem = nil, nil, nil, nil
	return errors.Join(errs...)
}

// Memory is the machine's RAM.
func (m *Machine) Memory() *Memory { return m.mem }

// CounterHz is the frequency of the counter in which the kernel stamps boot phases.
func (m *Machine) CounterHz() (uint64, error) { return m.cpus[0].v.CounterHz() }

// Counter is the guest's counter now. Before Run or after it.
func (m *Machine) Counter() (uint64, error) { return m.cpus[0].v.Counter() }

// AddMMIO puts a device at GPA base. Before Run.
func (m *Machine) AddMMIO(name string, base, size uint64, dev MMIODevice) error {
	if m.running {
		return fmt.Errorf("device %s added to a running machine", name)
	}
	for _, r := range m.mem.Ranges() {
		if base < r.Base+r.Size && r.Base < base+size {
			return fmt.Errorf("MMIO window of %s at %#x, %#x bytes overlaps RAM at %#x", name, base, size, r.Base)
		}
	}
	return m.mmio.add(name, base, size, dev)
}

// AddPIO puts a device at an I/O port (amd64). Before Run.
func (m *Machine) AddPIO(name string, base, size uint64, dev MMIODevice) error {
	if m.running {
		return fmt.Errorf("device %s added to a running machine", name)
	}
	if base+size > 1<<16 {
		return fmt.Errorf("I/O ports of %s at %#x, %#x bytes are beyond 0xffff", name, base, size)
	}
	return m.pio.add(name, base, size, dev)
}

// power is the amd64 power-off port.
type power Machine

func (p *power) Read(_ uint64, data []byte) {
	for i := range data {
		data[i] = 0xff
	}
}

func (p *power) Write(offset uint64, data []byte) {
	if offset != 0 || len(data) != 4 {
		return
	}
	code := uint64(data[0]) | uint64(data[1])<<8 | uint64(data[2])<<16 | uint64(data[3])<<24
	(*Machine)(p).powerOff(code)
}

func (m *Machine) powerOff(code uint64) {
	if code == bootinfo.PowerOffNormal {
		m.halt(Stop{Kind: StopPowerOff})
	} else {
		m.halt(Stop{Kind: StopPanic, Code: code})
	}
}
