package machine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ringo/internal/kvm"
	"ringo/internal/kvmtest"
	"ringo/virtio/queue"
	"ringo/vmm/boot"
	"ringo/vmm/machine"
)

func TestMain(m *testing.M) { kvmtest.Main(m) }

func TestInHostedMachines(t *testing.T) { kvmtest.Hosted(t, "ringo/vmm/machine") }

// console takes what the probe prints, whichever UART that is.
type console struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (c *console) Read(_ uint64, data []byte) { clear(data) }

func (c *console) Write(_ uint64, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.WriteByte(data[0])
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

// result is what a probe left. The machine is closed when the test ends.
type result struct {
	m     *machine.Machine
	stop  machine.Stop
	out   string
	took  time.Duration
	image *boot.Result
}

// run boots a probe with one virtio window that nobody answers.
func run(t *testing.T, ctx context.Context, cfg machine.Config, p *probe) result {
	t.Helper()
	return runPrepared(t, ctx, cfg, p, func(*machine.Machine) {})
}

// runPrepared is run with something done to the machine before its vCPUs start.
func runPrepared(t *testing.T, ctx context.Context, cfg machine.Config, p *probe, prepare func(*machine.Machine)) result {
	t.Helper()
	if cfg.CPUs == 0 {
		cfg.CPUs = 1
	}
	cfg.Memory = 32 << 20
	m, err := machine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	c := new(console)
	if arm {
		err = m.AddMMIO("console", 0x0900_0000, 0x1000, c)
	} else {
		err = m.AddPIO("console", 0x3f8, 8, c)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.NewVirtioWindow(); err != nil {
		t.Fatal(err)
	}
	layout, err := boot.LayoutOf(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	file := p.file()
	q := &boot.Request{
		Layout: layout, Memory: m.Memory(), CPUs: cfg.CPUs, Kernel: bytes.NewReader(file), KernelSize: uint64(len(file)),
		Virtio: m.VirtioWindows(), CounterHz: 1,
	}
	for _, r := range m.Memory().Ranges() {
		q.RAM = append(q.RAM, [2]uint64{r.Base, r.Size})
	}
	image, err := boot.Load(q)
	if err != nil {
		t.Fatal(err)
	}
	prepare(m)
	begin := time.Now()
	stop, err := m.Run(ctx, machine.Entry{PC: image.Kernel.Entry, Root: image.Root, Arg: image.Info, Early: image.Early,
		Image: machine.Image{Phys: image.Kernel.Phys, Virt: image.Kernel.Virt, Size: image.Kernel.Size}})
	if err != nil {
		t.Fatal(err)
	}
	return result{m, stop, c.String(), time.Since(begin), image}
}

// nowhere is the GVA of registers that no device answers.
func nowhere() uint64 {
	if arm {
		return 0x8000_0a00_0000
	}
	return 0xffff_8880_d000_0000
}

func TestOnKVMPrintAndPowerOff(t *testing.T) {
	kvmtest.Require(t)
	for _, cpus := range []int{1, 2} {
		r := run(t, t.Context(), machine.Config{CPUs: cpus}, new(probe).onlyFirst().print("hello\n").powerOff(false))
		if r.stop.Kind != machine.StopPowerOff || r.out != "hello\n" {
			t.Errorf("%d vCPUs: stop %+v, printed %q", cpus, r.stop, r.out)
		}
	}
}

func TestOnKVMPanicPowerOff(t *testing.T) {
	kvmtest.Require(t)
	r := run(t, t.Context(), machine.Config{CPUs: 2}, new(probe).onlyFirst().powerOff(true))
	if r.stop.Kind != machine.StopPanic || r.stop.Code != 1 {
		t.Errorf("stop = %+v, want StopPanic 1", r.stop)
	}
}

// A guest that stores to RAM which shows a file gets RAM of its own: it sees the file before and its
// store afterwards, on every vCPU that stores, and the file stays as it is.
func TestOnKVMGuestStoresToSharedRAM(t *testing.T) {
	kvmtest.Require(t)
	const size = 2 << 20
	content := bytes.Repeat([]byte("f"), size)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gpa, gva := uint64(16<<20), uint64(0xffff_8880_0000_0000+16<<20)
	if arm {
		gpa, gva = 0x4000_0000+16<<20, 0x8000_4000_0000+16<<20
	}
	p := new(probe).immediate(gva + 0x1234).load().printValue().
		immediate(gva + 0x5678).value('W').store().load().printValue().
		immediate(gva + 0x1234).load().printValue()
	end := *p
	for _, cpus := range []int{1, 2} {
		// With two vCPUs the second one stores too, and stops there.
		p := &probe{bytes.Clone(end.b)}
		r := runPrepared(t, t.Context(), machine.Config{CPUs: cpus}, p.onlyFirst().powerOff(false), func(m *machine.Machine) {
			if err := m.Memory().Share(gpa, size, f, 0); err != nil {
				t.Fatal(err)
			}
		})
		if r.stop.Kind != machine.StopPowerOff {
			t.Fatalf("%d vCPUs: stop %+v, printed %q", cpus, r.stop, r.out)
		}
		if cpus == 1 && r.out != "fWf" {
			t.Errorf("printed %q, want fWf", r.out)
		}
		var word [4]byte
		if err := r.m.Memory().ReadAt(gpa+0x5678, word[:], queue.NoQueue("test")); err != nil || word[0] != 'W' {
			t.Errorf("%d vCPUs: the monitor sees %q (%v), want the guest's store", cpus, word, err)
		}
		if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, content) {
			t.Errorf("%d vCPUs: the file changed (%v)", cpus, err)
		}
	}
}

// Every vCPU starts at the entry with its own number.
func TestOnKVMAllCPUsStart(t *testing.T) {
	kvmtest.Require(t)
	p := new(probe)
	if arm {
		p.immediate(0x8000_0900_0000).word(0x1100c025).store() // ADD W5, W1, #'0'
	} else {
		p.raw(0x66, 0xba, 0xf8, 0x03, 0x89, 0xf0, 0x04, '0', 0xee) // mov %esi, %eax; add $'0', %al; out
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r := run(t, ctx, machine.Config{CPUs: 3}, p.halt())
	for _, id := range "012" {
		if strings.Count(r.out, string(id)) != 1 {
			t.Errorf("printed %q, want each of 0, 1, 2 once", r.out)
		}
	}
}

// A guest that never leaves, running or halted, ends with the context, at once.
func TestOnKVMCancel(t *testing.T) {
	kvmtest.Require(t)
	for name, p := range map[string]*probe{"spinning": new(probe).spin(), "halted": new(probe).halt()} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		r := run(t, ctx, machine.Config{CPUs: 2}, p)
		cancel()
		if r.stop.Kind != machine.StopCancelled {
			t.Errorf("%s: stop = %+v", name, r.stop)
		}
		if r.took > 3*time.Second {
			t.Errorf("%s: took %v to end", name, r.took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := run(t, ctx, machine.Config{}, new(probe).spin()); r.stop.Kind != machine.StopCancelled {
		t.Errorf("cancelled before the start: stop = %+v", r.stop)
	}
}

// Where nothing is, reads are all ones and writes vanish.
func TestOnKVMReadsOfNothing(t *testing.T) {
	kvmtest.Require(t)
	p := new(probe).immediate(nowhere()).value('x').store().load().printValue().powerOff(false)
	r := run(t, t.Context(), machine.Config{}, p)
	if r.stop.Kind != machine.StopPowerOff || r.out != "\xff" {
		t.Errorf("stop %+v, read %q, want \\xff", r.stop, r.out)
	}
	if mmio, pio := r.m.Unclaimed(); mmio != 2 || pio != 0 {
		t.Errorf("%d MMIO and %d port accesses counted, want 2 and 0", mmio, pio)
	}
}

// A guest that does nothing else is stopped.
func TestOnKVMUnclaimedAccessesAreBounded(t *testing.T) {
	kvmtest.Require(t)
	p := new(probe).immediate(nowhere())
	loop := len(p.b)
	r := run(t, t.Context(), machine.Config{UnclaimedLimit: 100}, p.load().again(loop))
	if r.stop.Kind != machine.StopFatal || !strings.Contains(r.stop.Fatal.Error(), "100 such accesses") {
		t.Errorf("stop = %+v", r.stop)
	}
}

// An exception before the kernel has vectors tells which, where, with all registers.
func TestOnKVMEarlyException(t *testing.T) {
	kvmtest.Require(t)
	p := new(probe).onlyFirst().immediate(0x1122_3344_5566_7788)
	at := uint64(len(p.b))
	r := run(t, t.Context(), machine.Config{CPUs: 2}, p.undefined())
	f := r.stop.Fatal
	if r.stop.Kind != machine.StopFatal || f == nil || !strings.Contains(f.Error(), "before the kernel") {
		t.Fatalf("stop = %+v, %v", r.stop, f)
	}
	if len(f.CPUs) != 2 {
		t.Fatalf("%d vCPUs in the report", len(f.CPUs))
	}
	s := f.CPUs[0]
	if s.Registers.PC() != r.image.Kernel.Entry+at {
		t.Errorf("PC = %#x, want %#x", s.Registers.PC(), r.image.Kernel.Entry+at)
	}
	if len(s.Code) == 0 || !bytes.HasPrefix(new(probe).undefined().b, s.Code[:2]) {
		t.Errorf("code at PC: % x", s.Code)
	}
	if text := fmt.Sprint(s.Registers); !strings.Contains(text, "1122334455667788") {
		t.Errorf("registers: %s", text)
	}
	if s.Total == 0 || len(s.Exits) == 0 || f.CPUs[1].Registers == nil {
		t.Errorf("vCPU 0 has %d exits of %d, vCPU 1 registers %v", len(s.Exits), s.Total, f.CPUs[1].Registers)
	}
}

func TestOnKVMTripleFault(t *testing.T) {
	kvmtest.Require(t)
	if arm {
		t.Skip("arm64 has no triple fault: a CPU without vectors loops, which TestOnKVMCancel covers")
	}
	r := run(t, t.Context(), machine.Config{}, new(probe).noVectors().undefined())
	if r.stop.Kind != machine.StopFatal || r.stop.Fatal.Reason != kvm.ReasonShutdown || !strings.Contains(r.stop.Fatal.Error(), "triple fault") {
		t.Errorf("stop = %+v, %v", r.stop, r.stop.Fatal)
	}
}

// Nothing is left behind, however the machine ended.
func TestOnKVMNothingLeaks(t *testing.T) {
	kvmtest.Require(t)
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	maps := func() int {
		b, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(b), "ringo-guest-ram") + strings.Count(string(b), "kvm-vcpu")
	}
	ways := map[string]func(t *testing.T){
		"power off": func(t *testing.T) { run(t, t.Context(), machine.Config{CPUs: 2}, new(probe).powerOff(false)) },
		"panic":     func(t *testing.T) { run(t, t.Context(), machine.Config{CPUs: 2}, new(probe).powerOff(true)) },
		"fatal":     func(t *testing.T) { run(t, t.Context(), machine.Config{CPUs: 2}, new(probe).undefined()) },
		"cancel": func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			run(t, ctx, machine.Config{CPUs: 2}, new(probe).spin())
		},
		"never run": func(t *testing.T) {
			m, err := machine.New(machine.Config{CPUs: 2, Memory: 32 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		},
	}
	for name, way := range ways {
		t.Run(name, way) // once before counting: the netpoller and KVM's own start-up
		fds, goroutines, mappings := open(), runtime.NumGoroutine(), maps()
		for range 10 {
			t.Run(name, way)
		}
		if n := open(); n > fds {
			t.Errorf("%s: %d file descriptors, %d before", name, n, fds)
		}
		// The test runner's own may still be ending; a leak would be one a run.
		if n := runtime.NumGoroutine(); n >= goroutines+10 {
			t.Errorf("%s: %d goroutines, %d before", name, n, goroutines)
		}
		if n := maps(); n > mappings {
			t.Errorf("%s: %d mappings, %d before", name, n, mappings)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []machine.Config{
		{CPUs: 0, Memory: 64 << 20}, {CPUs: -1, Memory: 64 << 20}, {CPUs: 1000, Memory: 64 << 20},
		{CPUs: 1, Memory: 0}, {CPUs: 1, Memory: 1 << 20}, {CPUs: 1, Memory: 1 << 50}, {CPUs: 1, Memory: 64<<20 + 1},
	} {
		m, err := machine.New(c)
		if !errors.Is(err, machine.ErrConfig) {
			t.Errorf("New(%+v): err = %v, want ErrConfig", c, err)
		}
		if m != nil {
			m.Close()
		}
	}
}
