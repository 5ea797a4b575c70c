package tracing

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	kvmtest.Hosted(t, "ringo/vmm/tracing")
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
	ctx, cancel := context.WithTimeout(t.Context(), guestTime)
	defer cancel()
	pc := image.Kernel.Entry + symbol(t, file, "main."+entry) - symbol(t, file, "main.entryStores")
	stop, err := m.Run(ctx, machine.Entry{PC: pc, Root: image.Root, Arg: image.Info, Early: image.Early,
		Image: machine.Image{Phys: image.Kernel.Phys, Virt: image.Kernel.Virt, Size: image.Kernel.Size}})
	if err != nil {
		t.Fatal(err)
	}
	if stop.Fatal != nil {
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
	for _, cpus := range []int{1, 2} {
		l := new(log)
		m, w, stop := guest(t, cpus, "entryStores", Options{}, func(m *machine.Machine, w *watch.Owner) {
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
		if c := w.Counters(); c.Lost != 0 || c.Exits > 10*c.Steps {
			t.Errorf("counters: %+v", c)
		} else {
			t.Logf("%d vCPUs: %v; %d exits, %d steps", cpus, c, c.Exits, c.Steps)
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
	countStores(t, 100)
}

func countStores(t testing.TB, n uint64) (exits, hits uint64) {
	l := new(log)
	m, w, stop := guest(t, 2, "entryCount", Options{}, func(m *machine.Machine, w *watch.Owner) {
		put(t, m, said, n)
		put(t, m, said+16, 2)
		if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 0x100, Sink: l}); err != nil {
			t.Fatal(err)
		}
	})
	if stop.Kind != machine.StopPowerOff {
		t.Errorf("stop = %+v", stop)
	}
	var last [2]uint64
	for i, h := range l.hits {
		value, old := binary.LittleEndian.Uint64(h.New), binary.LittleEndian.Uint64(h.Old)
		if h.Len != 8 || h.GPA != dataGPA()+8*uint64(h.VCPU) || value != last[h.VCPU]+1 || old != last[h.VCPU] {
			t.Fatalf("hit %d: %v after %d", i, h, last[h.VCPU])
		}
		last[h.VCPU] = value
	}
	if last != [2]uint64{n, n} || word(m, 0) != n || word(m, 8) != n {
		t.Errorf("the vCPUs' last stores are %d, memory holds %d and %d, want %d", last, word(m, 0), word(m, 8), n)
	}
	c := w.Counters()
	if c.Lost != 0 || c.Hits != 2*n {
		t.Errorf("counters: %+v", c)
	}
	t.Logf("%v; %.2f exits a hit", c, float64(c.Exits)/float64(c.Hits))
	return c.Exits, c.Hits
}

// Atomic additions of two vCPUs to one watched word: none is lost, by lock prefix or exclusive pair.
func TestOnKVMAtomics(t *testing.T) {
	kvmtest.Require(t)
	const n = 60
	l := new(log)
	m, w, _ := guest(t, 2, "entryAdd", Options{}, func(m *machine.Machine, w *watch.Owner) {
		put(t, m, said, n)
		put(t, m, said+16, 2)
		if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 8, Sink: l}); err != nil {
			t.Fatal(err)
		}
	})
	if word(m, 0) != 2*n || len(l.hits) != 2*n {
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
		if err != nil || a.Engine != hit.DebugRegister {
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
