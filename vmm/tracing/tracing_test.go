package tracing

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"ringo/debug/hit"
	"ringo/debug/watch"
	"ringo/hosted"
	"ringo/internal/e2e"
	"ringo/internal/kvmtest"
	"ringo/vmm/boot"
	"ringo/vmm/machine"
)

func TestMain(m *testing.M) { kvmtest.Main(m) }

func TestInHostedMachines(t *testing.T) {
	if os.Getenv("RINGO_E2E") == "" {
		t.Skip("boots guests: run `make e2e`")
	}
	for _, arch := range hosted.Arches {
		buildPayload(t, arch)
	}
	kvmtest.Hosted(t, "ringo/vmm/tracing")
}

func buildPayload(t *testing.T, arch string) {
	t.Helper()
	name, err := payload(arch)
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-buildmode=pie", "-ldflags=-E=main.entryStores", "-o", name, "./testdata/payload")
	build.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the payload: %v\n%s", err, out)
	}
}

// payload is where the guest is built: in the project, which hosted machines see.
func payload(arch string) (string, error) {
	root, err := e2e.Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "build", arch, "trace-payload.elf"), nil
}

// The guest's data, see testdata/payload.
const (
	dataOffset = 16 << 20
	said       = 0x2000
)

func ramBase() uint64 {
	if runtime.GOARCH == "arm64" {
		return 0x4000_0000
	}
	return 0
}

func dataGPA() uint64 { return ramBase() + dataOffset }

func dataGVA() uint64 {
	if runtime.GOARCH == "arm64" {
		return 0x8000_0000_0000 + dataGPA()
	}
	return 0xffff_8880_0000_0000 + dataGPA()
}

// guestTime is for a host that has other things to do as well.
const guestTime = 6 * time.Minute

// log is a sink that remembers.
type log struct {
	mu   sync.Mutex
	hits []*hit.Write
	then hit.Action
}

func (l *log) Hit(w *hit.Write) hit.Action {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hits = append(l.hits, w)
	return l.then
}

// guest boots the payload at an entry; prepare runs before its vCPUs do, with what the payload is to find at
// 0x2000.
func guest(t testing.TB, cpus int, entry string, o Options, prepare func(m *machine.Machine, w *watch.Owner)) (*machine.Machine, *watch.Owner, machine.Stop) {
	t.Helper()
	name, err := payload(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := machine.New(machine.Config{CPUs: cpus, Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	layout, err := boot.LayoutOf(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	q := &boot.Request{Layout: layout, Memory: m.Memory(), CPUs: cpus, Kernel: bytes.NewReader(file), KernelSize: uint64(len(file)), CounterHz: 1}
	for _, r := range m.Memory().Ranges() {
		q.RAM = append(q.RAM, [2]uint64{r.Base, r.Size})
	}
	image, err := boot.Load(q)
	if err != nil {
		t.Fatal(err)
	}
	w := New(m, o)
	if prepare != nil {
		prepare(m, w)
	}
	ctx := t.Context()
	if os.Getenv("RINGO_STORES") == "" {
		limited, cancel := context.WithTimeout(ctx, guestTime)
		defer cancel()
		ctx = limited
	}
	pc := image.Kernel.Entry + symbol(t, file, "main."+entry) - symbol(t, file, "main.entryStores")
	stop, err := m.Run(ctx, machine.Entry{PC: pc, Root: image.Root, Arg: image.Info, Early: image.Early,
		Image: machine.Image{Phys: image.Kernel.Phys, Virt: image.Kernel.Virt, Size: image.Kernel.Size}})
	if err != nil {
		t.Fatal(err)
	}
	if stop.Fatal != nil && o.mutate == nil { // an engine that is broken on purpose may kill its guest: the caller sees it
		t.Errorf("the guest ended: %v", stop.Fatal)
	}
	return m, w, stop
}

func symbol(t testing.TB, file []byte, name string) uint64 {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	all, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s.Value
		}
	}
	t.Fatalf("the payload has no %s", name)
	return 0
}

func word(m *machine.Machine, offset uint64) uint64 {
	var b [8]byte
	m.Memory().Peek(dataGPA()+offset, b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func put(t testing.TB, m *machine.Machine, offset, v uint64) {
	t.Helper()
	if err := m.Memory().Poke(dataGPA()+offset, binary.LittleEndian.AppendUint64(nil, v)); err != nil {
		t.Fatal(err)
	}
}

// expected is a hit of entryStores; new "" is not compared.
type expected struct {
	kind   hit.Kind
	offset uint64
	n      int
	new    string
	silent bool
}

// Every kind of store is told with its exact bytes, in order, and the guest computes as without.
func TestOnKVMEveryKindOfStore(t *testing.T) {
	kvmtest.Require(t)
	for _, c := range []struct {
		cpus     int
		stepOnly bool
	}{{1, false}, {2, false}, {2, true}} {
		l := new(log)
		m, w, stop := guest(t, c.cpus, "entryStores", Options{stepOnly: c.stepOnly}, func(m *machine.Machine, w *watch.Owner) {
			if err := m.Memory().Poke(dataGPA()+said, []byte("moved by string!")); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 0x2000, Sink: l}); err != nil {
				t.Fatal(err)
			}
		})
		if stop.Kind != machine.StopPowerOff {
			t.Errorf("stop = %+v", stop)
		}
		want := storesExpected
		for i, h := range l.hits {
			if i >= len(want) {
				t.Errorf("hit %d beyond those expected: %v", i, h)
				continue
			}
			e := want[i]
			if h.Kind != e.kind || h.GPA != dataGPA()+e.offset || h.Len != e.n || e.new != "" && string(h.New) != e.new || h.Silent != e.silent || h.GVA != dataGVA()+e.offset {
				t.Errorf("hit %d: %v (%v, GVA %#x, silent %t), want %v at %#x, %d bytes %q", i, h, h.Kind, h.GVA, h.Silent, e.kind, e.offset, e.n, e.new)
			}
			if h.Engine != hit.PageEngine || h.PC == 0 || h.Instruction == "" || h.Registers.PC != h.PC || h.Race || h.Seq == 0 {
				t.Errorf("hit %d: %+v", i, h)
			}
		}
		if len(l.hits) < len(want) {
			t.Errorf("%d hits, want %d", len(l.hits), len(want))
		}
		if n := w.Counters(); n.Lost != 0 || n.Exits > 10*(n.Steps+n.Emulated) || (n.Emulated == 0) != c.stepOnly {
			t.Errorf("counters: %+v", n)
		} else {
			t.Logf("%+v: %v; %d exits, %d steps, %d emulated", c, n, n.Exits, n.Steps, n.Emulated)
		}
		// What the hits say is what is there.
		image := make([]byte, 0x2000)
		for _, h := range l.hits {
			copy(image[h.GPA-dataGPA():], h.New)
		}
		got := make([]byte, 0x2000)
		m.Memory().Peek(dataGPA(), got)
		if !bytes.Equal(image, got) {
			t.Error("the hits together are not what memory holds")
		}
	}
}

// Stores of two vCPUs to one page: none lost, none doubled, each vCPU's in order, the old value of each the one before.
func TestOnKVMStoresOfTwoCPUs(t *testing.T) {
	kvmtest.Require(t)
	for _, stepOnly := range []bool{false, true} {
		wrong, _ := countStores(t, 100, Options{stepOnly: stepOnly})
		for _, w := range wrong {
			t.Errorf("step only %t: %s", stepOnly, w)
		}
	}
}

// countStores runs entryCount with n stores a vCPU and answers what is wrong with the hits, and how they were made.
func countStores(t testing.TB, n uint64, o Options) (wrong []string, c hit.Counters) {
	l := new(log)
	m, w, stop := guest(t, 2, "entryCount", o, func(m *machine.Machine, w *watch.Owner) {
		put(t, m, said, n)
		put(t, m, said+16, 2)
		if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 0x100, Sink: l}); err != nil {
			t.Fatal(err)
		}
	})
	if stop.Fatal != nil && o.mutate != nil { // guest has said so of others: no test of this expects it
		t.Errorf("the guest ended: %v", stop.Fatal)
	}
	bad := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	if stop.Kind != machine.StopPowerOff {
		bad("stop = %+v", stop)
	}
	var last [2]uint64
	for i, h := range l.hits {
		if h.Len != 8 || h.GPA != dataGPA()+8*uint64(h.VCPU) {
			bad("hit %d: %v", i, h)
			continue
		}
		value, old := binary.LittleEndian.Uint64(h.New), binary.LittleEndian.Uint64(h.Old)
		if value != last[h.VCPU]+1 || old != last[h.VCPU] {
			bad("hit %d: %v after %d", i, h, last[h.VCPU])
		}
		last[h.VCPU] = value
	}
	if last != [2]uint64{n, n} || word(m, 0) != n || word(m, 8) != n {
		bad("the vCPUs' last stores are %d, memory holds %d and %d, want %d", last, word(m, 0), word(m, 8), n)
	}
	c = w.Counters()
	if c.Lost != 0 || c.Hits != 2*n {
		bad("counters: %+v", c)
	}
	t.Logf("%v; %.2f exits a hit", c, float64(c.Exits)/float64(c.Hits))
	return wrong, c
}

// careless is a machine whose exclusive sections are not.
type careless struct{ watch.Machine }

func (careless) Exclusive(_ int, f func() error) error { return f() }

// The test of two vCPUs' stores must notice when the others are not paused.
func TestOnKVMStoresAreLostWithoutThePause(t *testing.T) {
	kvmtest.Require(t)
	for range 10 {
		wrong, _ := countStores(t, 300, Options{stepOnly: true, mutate: func(m watch.Machine) watch.Machine { return careless{m} }})
		if len(wrong) > 0 {
			t.Logf("noticed: %s", wrong[0])
			return
		}
	}
	t.Error("an engine that does not pause the other vCPUs passes")
}

// Devices' writes are told with their labels, before they happen.
func TestOnKVMDeviceWrites(t *testing.T) {
	kvmtest.Require(t)
	l := new(log)
	guest(t, 1, "entryReads", Options{}, func(m *machine.Machine, w *watch.Owner) {
		if _, err := w.Add(watch.Request{GPA: dataGPA() + 0x800, Physical: true, Len: 0x10, Sink: l}); err != nil {
			t.Fatal(err)
		}
		src := machine.Source{Device: "virtio-block", Queue: 0, Head: 12}
		if err := m.Memory().WriteAt(dataGPA()+0x7fc, []byte("abcdefgh"), src); err != nil {
			t.Fatal(err)
		}
	})
	if len(l.hits) != 1 {
		t.Fatalf("hits %v", l.hits)
	}
	h := l.hits[0]
	if h.Kind != hit.Device || h.Source != "virtio-block, queue 0, head 12" || h.GPA != dataGPA()+0x800 || string(h.New) != "efgh" || string(h.Old) != "\x00\x00\x00\x00" || h.VCPU != -1 || h.Engine != hit.Accessor {
		t.Errorf("%+v", h)
	}
}

// Watches come and go while the guest runs, without losing what happens in between.
func TestOnKVMAddAndRemoveWhileRunning(t *testing.T) {
	kvmtest.Require(t)
	for _, physical := range []bool{true, false} {
		ready := make(chan *watch.Owner, 1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			m, w := <-running, <-ready
			for range 5 {
				l := new(log)
				a, err := w.Add(watch.Request{GPA: dataGPA(), GVA: dataGVA(), Physical: physical, Len: 16, Sink: l})
				if err != nil {
					t.Error(err)
					break
				}
				for deadline := time.Now().Add(time.Minute); l.count() < 3 && time.Now().Before(deadline); {
					runtime.Gosched()
				}
				if err := w.Remove(a.ID); err != nil {
					t.Error(err)
				}
				if len(w.Watches()) != 0 || l.count() < 3 {
					t.Errorf("physical %t: %d hits", physical, l.count())
				}
				l.mu.Lock()
				for i := 1; i < len(l.hits); i++ {
					a, b := l.hits[i-1], l.hits[i]
					if a.VCPU == b.VCPU && physical && binary.LittleEndian.Uint64(a.New) != binary.LittleEndian.Uint64(b.Old) {
						t.Errorf("%v follows %v", b, a)
					}
				}
				l.mu.Unlock()
			}
			m.End()
		}()
		_, _, stop := guest(t, 2, "entryCount", Options{}, func(m *machine.Machine, w *watch.Owner) {
			put(t, m, said, 1<<60)
			running <- m
			ready <- w
		})
		<-done
		if stop.Kind != machine.StopTraced {
			t.Errorf("stop = %+v", stop)
		}
	}
}

var running = make(chan *machine.Machine, 1)

func (l *log) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.hits)
}

// Watched page tables: the CPU's own accesses neither stop the guest nor are mistaken for an instruction's.
func TestOnKVMPageTables(t *testing.T) {
	kvmtest.Require(t)
	l := new(log)
	_, w, stop := guest(t, 1, "entryReads", Options{}, func(m *machine.Machine, w *watch.Owner) {
		if _, err := w.Add(watch.Request{GPA: ramBase() + 0x20000, Physical: true, Len: 0x4000, Sink: l}); err != nil {
			t.Fatal(err)
		}
	})
	for _, h := range l.hits {
		if h.Kind != hit.PageWalk {
			t.Errorf("%v", h)
		}
	}
	if c := w.Counters(); stop.Kind != machine.StopPowerOff || c.Lost != 0 {
		t.Errorf("stop = %+v, %+v", stop, c)
	} else {
		t.Logf("%v, %d steps", c, c.Steps)
	}
}

// An exception whose frame goes to a watched stack.
func TestOnKVMEventDelivery(t *testing.T) {
	kvmtest.Require(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("arm64 pushes no frames")
	}
	l := new(log)
	_, w, stop := guest(t, 2, "entryDelivery", Options{}, func(m *machine.Machine, w *watch.Owner) {
		if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 0x1000, Sink: l}); err != nil {
			t.Fatal(err)
		}
	})
	if stop.Kind != machine.StopPowerOff || len(l.hits) != 1 {
		t.Fatalf("stop %+v, hits %v", stop, l.hits)
	}
	h := l.hits[0]
	if h.Kind != hit.Delivery || h.GPA != dataGPA()+0x800-40 || h.Len != 40 || h.PC != 0 || binary.LittleEndian.Uint64(h.New) != h.Registers.PC {
		t.Errorf("%v, %+v", h, h)
	}
	if c := w.Counters(); c.Lost != 0 {
		t.Errorf("%+v", c)
	}
}

// TestFigures prints what `make bench-debug` is for: 100,000 stores of two vCPUs to one page.
func TestFigures(t *testing.T) {
	n, err := strconv.ParseUint(os.Getenv("RINGO_BENCH_DEBUG"), 10, 64)
	if err != nil {
		t.Skip("takes long: make bench-debug")
	}
	for _, arch := range hosted.Arches {
		buildPayload(t, arch)
		var out bytes.Buffer
		status, err := kvmtest.Run(t.Context(), arch, kvmtest.Build(t, arch, "ringo/vmm/tracing"), []string{"-test.run", "^TestOnKVMFigures$", "-test.v", "-test.timeout", "3h"},
			[]string{"RINGO_STORES=" + strconv.FormatUint(n, 10)}, &out)
		t.Logf("%s\n%s", arch, out.Bytes())
		if err != nil || status != 0 {
			t.Errorf("%s: status %d, %v", arch, status, err)
		}
	}
}

// The inner half of TestFigures.
func TestOnKVMFigures(t *testing.T) {
	kvmtest.Require(t)
	n, err := strconv.ParseUint(os.Getenv("RINGO_STORES"), 10, 64)
	if err != nil {
		t.Skip("only in TestFigures")
	}
	began := time.Now()
	wrong, c := countStores(t, n/2, Options{})
	for _, w := range wrong[:min(len(wrong), 10)] {
		t.Error(w)
	}
	t.Logf("page engine: %d stores of two vCPUs to one page, %d hits, %d lost, %.2f exits a hit, %v a hit", n, c.Hits, c.Lost, float64(c.Exits)/float64(c.Hits), time.Since(began)/time.Duration(max(c.Hits, 1)))
}

// Atomic additions of two vCPUs to one watched word: none is lost, by lock prefix or exclusive pair, stepped over or emulated.
func TestOnKVMAtomics(t *testing.T) {
	kvmtest.Require(t)
	testAtomics(t, 60, false)
	testAtomics(t, 60, true)
}

func testAtomics(t *testing.T, n uint64, stepOnly bool) {
	l := new(log)
	m, w, _ := guest(t, 2, "entryAdd", Options{stepOnly: stepOnly}, func(m *machine.Machine, w *watch.Owner) {
		put(t, m, said, n)
		put(t, m, said+16, 2)
		if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 8, Sink: l}); err != nil {
			t.Fatal(err)
		}
	})
	if word(m, 0) != 2*n || uint64(len(l.hits)) != 2*n {
		t.Errorf("%d after %d hits, want %d: %v", word(m, 0), len(l.hits), 2*n, w.Counters())
	}
	for i, h := range l.hits {
		if h.Kind != hit.Atomic || binary.LittleEndian.Uint64(h.New) != uint64(i+1) || binary.LittleEndian.Uint64(h.Old) != uint64(i) {
			t.Fatalf("hit %d: %v (%v)", i, h, h.Kind)
		}
	}
	if c := w.Counters(); c.Lost != 0 {
		t.Errorf("counters: %+v", c)
	}
}

// A watch for reads tells loads and stores apart.
func TestOnKVMReads(t *testing.T) {
	kvmtest.Require(t)
	for _, physical := range []bool{true, false} {
		l := new(log)
		m, w, _ := guest(t, 1, "entryReads", Options{}, func(m *machine.Machine, w *watch.Owner) {
			put(t, m, 0x10, 7)
			if _, err := w.Add(watch.Request{GPA: dataGPA() + 0x10, GVA: dataGVA() + 0x10, Physical: physical, Len: 8, Reads: true, Sink: l}); err != nil {
				t.Fatal(err)
			}
		})
		if len(l.hits) != 2 || l.hits[0].Access != hit.Read || l.hits[0].New[0] != 7 || l.hits[1].Access != hit.Written || l.hits[1].New[0] != 9 || l.hits[1].Old[0] != 7 {
			t.Errorf("physical %t: hits %v", physical, l.hits)
		}
		if word(m, 0x18+said) != 7 || word(m, 0x10) != 9 {
			t.Errorf("the guest read %d and stored %d", word(m, 0x18+said), word(m, 0x10))
		}
		if c := w.Counters(); c.Lost != 0 {
			t.Errorf("counters: %+v", c)
		}
	}
}

// Debug registers tell the same as the page engine, with one exit a hit where the CPU stops behind the access.
func TestOnKVMDebugRegisters(t *testing.T) {
	kvmtest.Require(t)
	const n = 50
	l := new(log)
	_, w, _ := guest(t, 2, "entryCount", Options{}, func(m *machine.Machine, w *watch.Owner) {
		put(t, m, said, n)
		put(t, m, said+16, 2)
		a, err := w.Add(watch.Request{GVA: dataGVA(), Len: 16, Sink: l})
		if err != nil || w.Engine(a) != hit.DebugRegister {
			t.Fatalf("%+v, %v", a, err)
		}
	})
	var last [2]uint64
	for i, h := range l.hits {
		if h.Len != 8 {
			t.Fatalf("hit %d: %v", i, h)
		}
		value := binary.LittleEndian.Uint64(h.New)
		if h.Engine != hit.DebugRegister || h.GVA != dataGVA()+8*uint64(h.VCPU) || h.GPA != dataGPA()+8*uint64(h.VCPU) || value != last[h.VCPU]+1 || h.PC == 0 {
			t.Fatalf("hit %d: %v", i, h)
		}
		last[h.VCPU] = value
	}
	if last != [2]uint64{n, n} {
		t.Errorf("last stores %d, want %d", last, n)
	}
	c := w.Counters()
	if limit := uint64(map[string]int{"amd64": 1, "arm64": 2}[runtime.GOARCH]); c.Lost != 0 || c.Exits > limit*c.Hits {
		t.Errorf("counters: %+v, want at most %d exits a hit", c, limit)
	}
}
