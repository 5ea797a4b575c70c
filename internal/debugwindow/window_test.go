package debugwindow

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"
)

// ram is guest memory from GPA base.
type ram struct {
	base uint64
	b    []byte
}

func (r ram) Peek(gpa uint64, p []byte) int {
	if gpa < r.base || gpa-r.base >= uint64(len(r.b)) {
		return 0
	}
	return copy(p, r.b[gpa-r.base:])
}

const testBase = 0x10_0000

func window(t testing.TB, cpus int) (*Registry, ram) {
	t.Helper()
	words := make([]uint64, MinSize/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), MinSize)
	r, err := Format(b, cpus)
	if err != nil {
		t.Fatal(err)
	}
	return r, ram{testBase, b}
}

// Kernel and monitor of different builds read these; a change needs a new Version.
func TestLayoutIsPinned(t *testing.T) {
	var h Header
	var task Task
	var cpu CPU
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"Header", unsafe.Sizeof(h), 656}, {"Header.Guard", unsafe.Offsetof(h.Guard), 12}, {"Header.Frames", unsafe.Offsetof(h.Frames), 104},
		{"Header.Threads", unsafe.Offsetof(h.Threads), 520}, {"Header.Runtime", unsafe.Offsetof(h.Runtime), 576},
		{"Task", unsafe.Sizeof(task), 304}, {"Task.G", unsafe.Offsetof(task.G), 56}, {"Task.Call", unsafe.Offsetof(task.Call), 80},
		{"Task.Stacks", unsafe.Offsetof(task.Stacks), 136}, {"Task.Snapshot", unsafe.Offsetof(task.Snapshot), 280},
		{"Task.Cover", unsafe.Offsetof(task.Cover), 296}, {"Header.Credit", unsafe.Offsetof(h.Credit), 648},
		{"CPU", unsafe.Sizeof(cpu), 192}, {"CPU.Stacks", unsafe.Offsetof(cpu.Stacks), 32},
		{"Stack", unsafe.Sizeof(Stack{}), 40}, {"FrameHistory", unsafe.Sizeof(FrameHistory{}), 72},
	} {
		if f.got != f.want {
			t.Errorf("%s = %d, want %d", f.name, f.got, f.want)
		}
	}
}

func TestWindowIsInvisibleUntilPublished(t *testing.T) {
	r, m := window(t, 2)
	if _, err := Open(m, testBase, MinSize); !errors.Is(err, ErrAbsent) {
		t.Errorf("before Publish: %v, want ErrAbsent", err)
	}
	if _, err := Open(m, 0, 0); !errors.Is(err, ErrAbsent) {
		t.Errorf("no window: %v, want ErrAbsent", err)
	}
	r.Publish()
	w, err := Open(m, testBase, MinSize)
	if err != nil {
		t.Fatal(err)
	}
	if w.Header.CPUs != 2 || w.Header.Tasks == 0 {
		t.Errorf("header: %d CPUs, %d tasks", w.Header.CPUs, w.Header.Tasks)
	}
}

func TestHeadersThatCannotBe(t *testing.T) {
	for name, spoil := range map[string]func(*Header){
		"magic":       func(h *Header) { h.Magic++ },
		"version":     func(h *Header) { h.Version++ },
		"size":        func(h *Header) { h.Size = MinSize + 1 },
		"no CPUs":     func(h *Header) { h.CPUs = 0 },
		"CPUs":        func(h *Header) { h.CPUs = MaxCPUs + 1 },
		"tasks":       func(h *Header) { h.Tasks = MaxTasks },
		"task offset": func(h *Header) { h.TaskOffset = ^uint32(0) },
		"CPU offset":  func(h *Header) { h.CPUOffset = 0 },
		"regions":     func(h *Header) { h.Frames.NumRegions = 5 },
		"records":     func(h *Header) { h.Frames.RecordSize = ^uint32(0) },
		"owners":      func(h *Header) { h.Frames.NumOwners = 17 },
	} {
		r, m := window(t, 1)
		r.Publish()
		spoil(r.Header())
		if _, err := Open(m, testBase, MinSize); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
	}
}

// fill writes an entry as the kernel does.
func fill(e *Task, tid uint32, name string) {
	e.Begin()
	e.State, e.TID, e.PID = TaskParked, tid, tid
	e.SetComm(name)
	e.G, e.Context = 0xc000_1000+uint64(tid), 0xd000_0000+uint64(tid)
	e.Stacks[0] = Stack{Lo: 0x1000, Hi: 0x3000, SP: 0x2800, Keep: 0x2900, Kind: StackGoroutine}
	e.Call = 44
	e.End()
}

func TestEntriesRoundTrip(t *testing.T) {
	r, m := window(t, 2)
	r.Publish()
	r.Header().High = 3
	fill(r.Task(0), 7, "sh")
	fill(r.Task(2), 9, "a name that is too long")
	w, err := Open(m, testBase, MinSize)
	if err != nil {
		t.Fatal(err)
	}
	all := w.Tasks()
	if len(all) != 2 || all[0].TID != 7 || all[1].Slot != 2 || all[1].Name != "a name that is " {
		t.Fatalf("tasks %+v", all)
	}
	if nr, ok := all[0].Syscall(); !ok || nr != 43 {
		t.Errorf("call %d %t, want 43", nr, ok)
	}
	if s := all[0].Valid(); len(s) != 1 || !s[0].Contains(0x1000) || s[0].Contains(0x3000) {
		t.Errorf("stacks %+v", s)
	}
}

func TestTornEntryIsMarked(t *testing.T) {
	r, m := window(t, 1)
	r.Publish()
	r.Header().High = 1
	fill(r.Task(0), 7, "sh")
	r.Task(0).Begin() // and then the guest died
	w, _ := Open(m, testBase, MinSize)
	if e, err := w.Task(0); err != nil || !e.Torn || e.TID != 7 {
		t.Errorf("entry %+v, %v: want it, torn", e, err)
	}
}

func TestDamagedEntriesAreNamed(t *testing.T) {
	for name, spoil := range map[string]func(*Task){
		"state":         func(e *Task) { e.State = 9 },
		"wait":          func(e *Task) { e.Wait = 9 },
		"call":          func(e *Task) { e.Call = 1 << 40 },
		"kind":          func(e *Task) { e.Stacks[1].Kind = 99 },
		"empty stack":   func(e *Task) { e.Stacks[0].Hi = e.Stacks[0].Lo },
		"huge stack":    func(e *Task) { e.Stacks[0].Hi = ^uint64(0) },
		"foreign SP":    func(e *Task) { e.Stacks[0].SP = 0x10 },
		"foreign Keep":  func(e *Task) { e.Stacks[0].Keep = 0x10 },
		"reversed":      func(e *Task) { e.Stacks[0].Lo, e.Stacks[0].Hi = e.Stacks[0].Hi, e.Stacks[0].Lo },
		"call wrapping": func(e *Task) { e.Call = ^uint64(0) },
	} {
		r, m := window(t, 1)
		r.Publish()
		fill(r.Task(0), 7, "sh")
		spoil(r.Task(0))
		w, _ := Open(m, testBase, MinSize)
		if e, err := w.Task(0); err != nil || e.Damage == "" {
			t.Errorf("%s: damage %q, %v", name, e.Damage, err)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"sh\x00junk": "sh", "\x1b[31m": "?[31m", "a\xffb": "a?b", "Größe": "Größe", "": "",
	} {
		if got := Printable([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCurrentTask(t *testing.T) {
	r, m := window(t, 2)
	r.Header().Threads.G = 0x70
	r.Publish()
	r.Header().High = 2
	fill(r.Task(0), 7, "sh")
	fill(r.Task(1), 9, "cat")
	r.Task(1).AltG = 0xfa4e
	c := r.CPU(1)
	c.ThreadAt, c.UserAt = 0x5000, 0x5008
	c.Stacks[0] = Stack{Lo: 0x9000, Hi: 0xa000, Kind: StackNucleus}
	words := map[uint64]uint64{
		0x5000: 0x6000, 0x6070: 0xc000_1009, // the thread on CPU 1 runs task 9's goroutine
		0x5008:      0xd000_0007, // and its user context is 7's
		0x7000 + 48: 0x8000, 0x8000 + 184: 0xc000_1009,
	}
	read := func(gva uint64, p []byte) int {
		v, ok := words[gva]
		if !ok {
			return 0
		}
		return copy(p, unsafe.Slice((*byte)(unsafe.Pointer(&v)), 8))
	}
	w, err := Open(m, testBase, MinSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		vcpu VCPU
		want uint32
	}{
		{"user mode", VCPU{Index: 1, User: true}, 7},
		{"kernel code", VCPU{Index: 1, SP: 0x2000, G: 0xc000_1007}, 7},
		{"fixed stack", VCPU{Index: 1, SP: 0x2000, G: 0xfa4e}, 9},
		{"handler", VCPU{Index: 1, SP: 0x9800, G: 0x77}, 9},
		{"system stack of the runtime", VCPU{Index: 1, SP: 0x2000, G: 0x7000}, 9},
		{"nobody", VCPU{Index: 1, SP: 0x2000, G: 0x1234}, 0},
		{"no such CPU", VCPU{Index: 5}, 0},
		{"user mode, nobody", VCPU{Index: 0, User: true}, 0},
	} {
		e, ok := w.CurrentTask(c.vcpu, read)
		if ok != (c.want != 0) || e.TID != c.want {
			t.Errorf("%s: task %d %t, want %d", c.name, e.TID, ok, c.want)
		}
	}
}

func TestFrames(t *testing.T) {
	r, m := window(t, 1)
	f := &r.Header().Frames
	f.NumRegions, f.RecordSize, f.Refs, f.Owner, f.Order, f.Head = 1, 16, 8, 12, 13, 14
	f.NumOwners, f.HistorySize = 2, uint32(unsafe.Sizeof(FrameHistory{}))
	copy(f.Owners[1][:], "page table")
	f.Regions[0] = FrameRegion{Base: 0x4000_0000, Frames: 4, Records: testBase + 0x8000, History: testBase + 0x9000}
	rec := m.b[0x8000+2*16:]
	rec[8], rec[12], rec[13], rec[14] = 3, 1, 2, 2
	(*FrameHistory)(unsafe.Pointer(&m.b[0x9000+2*72])).AllocTask = 42
	r.Publish()
	w, err := Open(m, testBase, MinSize)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := w.Frame(0x4000_2abc)
	if !ok || got.Owner != "page table" || got.Refs != 3 || got.Order != 2 || !got.First || got.History.AllocTask != 42 {
		t.Errorf("frame %+v %t", got, ok)
	}
	if _, ok := w.Frame(0x4000_4000); ok {
		t.Error("a frame behind the last one exists")
	}
}

// The runtime's offsets are those of the compiler at hand, on both architectures.
func TestRuntimeLayoutMatchesDWARF(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		exe := filepath.Join(dir, arch)
		cmd := exec.Command("go", "build", "-o", exe, filepath.Join(dir, "main.go"))
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		f, err := elf.Open(exe)
		if err != nil {
			t.Fatal(err)
		}
		d, err := f.DWARF()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		l := Runtime
		for field, want := range map[string]uint32{
			"g.stack": l.GStackLo, "g.m": l.GM, "g.sched": l.GSchedSP, "g.atomicstatus": l.GStatus, "g.goid": l.GID, "g.waitreason": l.GWaitReason,
			"m.g0": l.MG0, "m.gsignal": l.MGsignal, "m.curg": l.MCurg, "m.procid": l.MProcID,
			"gobuf.sp": 0, "gobuf.pc": l.GSchedPC - l.GSchedSP, "gobuf.bp": l.GSchedBP - l.GSchedSP, "stack.hi": l.GStackHi,
		} {
			if got, ok := offsetOf(d, field); !ok || got != int64(want) {
				t.Errorf("%s: runtime.%s at %d %t, the layout says %d", arch, field, got, ok, want)
			}
		}
	}
}

// offsetOf finds "struct.field" of package runtime.
func offsetOf(d *dwarf.Data, name string) (int64, bool) {
	typ, field := name[:len(name)-len(filepath.Ext(name))], filepath.Ext(name)[1:]
	for r := d.Reader(); ; {
		e, err := r.Next()
		if err != nil || e == nil {
			return 0, false
		}
		if e.Tag != dwarf.TagStructType || e.Val(dwarf.AttrName) != "runtime."+typ {
			continue
		}
		tt, err := d.Type(e.Offset)
		if err != nil {
			return 0, false
		}
		for _, f := range tt.(*dwarf.StructType).Field {
			if f.Name == field {
				return f.ByteOffset, true
			}
		}
		return 0, false
	}
}

// Whatever the guest writes, the decoder answers and ends.
func FuzzWindow(f *testing.F) {
	r, m := window(f, 2)
	r.Publish()
	r.Header().High = 2
	fill(r.Task(0), 7, "sh")
	f.Add(append([]byte(nil), m.b[:HeaderSize+CPUSize*2+TaskSize*3]...), uint64(0x1000), uint64(0xc000_1007))
	f.Fuzz(func(t *testing.T, b []byte, sp, g uint64) {
		m := ram{testBase, b}
		w, err := Open(m, testBase, uint64(len(b)))
		if err != nil {
			return
		}
		for _, e := range w.Tasks() {
			_ = e.Valid()
			_ = e.State.String() + e.Wait.String() + e.Stacks[0].Kind.String()
		}
		read := func(gva uint64, p []byte) int {
			gpa, _ := w.Physical(gva)
			return m.Peek(gpa, p)
		}
		for cpu := range 3 {
			w.CurrentTask(VCPU{Index: cpu, SP: sp, G: g}, read)
			w.CurrentTask(VCPU{Index: cpu, User: true}, read)
		}
		w.Frame(sp)
	})
}
