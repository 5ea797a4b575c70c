package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	amd64table "ringo/arch/amd64/pagetable"
	arm64table "ringo/arch/arm64/pagetable"
	"ringo/internal/bootinfo"
	"ringo/internal/pagetable"
)

const megabyte = 1 << 20

func request(l *Layout, mem *ram) *Request {
	file := newKernelFile(l).bytes()
	initrd := bytes.Repeat([]byte("cpio!"), 1000)
	return &Request{
		Layout: l, Memory: mem, RAM: [][2]uint64{{l.RAMBase, uint64(len(mem.b))}}, CPUs: 2,
		Kernel: bytes.NewReader(file), KernelSize: uint64(len(file)),
		Initrd:     func(w io.Writer) error { _, err := w.Write(initrd); return err },
		InitrdSize: uint64(len(initrd)), CommandLine: "debug=htrace quiet",
		Virtio:    []bootinfo.MMIO{{Base: l.devices(2)[0][0] + 1<<26, Size: 0x1000, IRQ: 40}},
		CounterHz: 1e9, Seed: [32]byte{1, 2, 3}, DebugSize: 64 << 10, TraceSize: 128 << 10,
	}
}

func readInfo(t *testing.T, mem *ram, at uint64) *bootinfo.Info {
	t.Helper()
	var info bootinfo.Info
	if err := binary.Read(bytes.NewReader(mem.b[at-mem.base:]), binary.LittleEndian, &info); err != nil {
		t.Fatal(err)
	}
	if err := info.Check(); err != nil {
		t.Fatal(err)
	}
	return &info
}

func TestLoadDescribesTheMachine(t *testing.T) {
	everyLayout(t, func(t *testing.T, l *Layout) {
		mem := newRAM(l.RAMBase, 16*megabyte)
		q := request(l, mem)
		r, err := Load(q)
		if err != nil {
			t.Fatal(err)
		}
		if r.Info != l.RAMBase+0x10000 {
			t.Errorf("boot info at %#x", r.Info)
		}
		info := readInfo(t, mem, r.Info)
		if got := string(mem.b[info.CommandLine-mem.base:][:info.CommandLineSize]); got != q.CommandLine {
			t.Errorf("command line %q, want %q", got, q.CommandLine)
		}
		if info.Initrd%pageSize != 0 || info.Initrd != r.Initrd || info.InitrdSize != q.InitrdSize {
			t.Errorf("initramfs at %#x, %d bytes", info.Initrd, info.InitrdSize)
		}
		if got := mem.b[info.Initrd-mem.base:][:info.InitrdSize]; !bytes.HasPrefix(got, []byte("cpio!cpio!")) {
			t.Error("the initramfs is not in memory")
		}
		if info.CPUs != 2 || info.CounterHz != 1e9 || info.RandomSeed != q.Seed || info.NumMMIO != 1 || info.MMIO[0] != q.Virtio[0] {
			t.Errorf("info = %+v", info)
		}
		if err := SetWallClock(mem, r.Info, 1234567); err != nil || readInfo(t, mem, r.Info).WallClock != 1234567 {
			t.Errorf("wall clock %d, %v", readInfo(t, mem, r.Info).WallClock, err)
		}
		if info.Debug.Size != 64<<10 || info.Trace.Size != 128<<10 || info.Trace.Base != info.Debug.Base+info.Debug.Size || info.Trace.Base+info.Trace.Size != l.RAMBase+uint64(len(mem.b)) ||
			info.Initrd+info.InitrdSize > info.Debug.Base || r.Debug != info.Debug || r.Trace != info.Trace || info.Doorbell == 0 {
			t.Errorf("windows %+v, %+v, doorbell %#x", info.Debug, info.Trace, info.Doorbell)
		}
		kinds := map[bootinfo.RangeKind]uint64{}
		var ram uint64
		for _, x := range info.Ranges[:info.NumRanges] {
			kinds[x.Kind] += x.Size
			if x.Kind != bootinfo.RangeDevice {
				ram += x.Size
			}
		}
		skipped := l.UsableBase - l.RAMBase
		if ram != uint64(len(mem.b))-skipped {
			t.Errorf("ranges hold %#x bytes of RAM, want %#x", ram, uint64(len(mem.b))-skipped)
		}
		if kinds[bootinfo.RangeKernel] != info.KernelSize || kinds[bootinfo.RangeInitrd] != 2*pageSize || kinds[bootinfo.RangeDevice] == 0 {
			t.Errorf("ranges by kind: %#x", kinds)
		}
	})
}

func walk(l *Layout, mem *ram, root, va uint64) pagetable.Walk {
	read := func(gpa uint64) (uint64, bool) {
		if mem.Check(gpa, 8) != nil {
			return 0, false
		}
		return binary.LittleEndian.Uint64(mem.b[gpa-mem.base:]), true
	}
	if l.Arch == "arm64" {
		return arm64table.ReadWalk(root, va, read)
	}
	return amd64table.ReadWalk(root, va, read)
}

func TestBootTablesMapWhatTheContractSays(t *testing.T) {
	everyLayout(t, func(t *testing.T, l *Layout) {
		mem := newRAM(l.RAMBase, 17*megabyte) // ends in the middle of a 2 MiB page
		q := request(l, mem)
		r, err := Load(q)
		if err != nil {
			t.Fatal(err)
		}
		end := l.RAMBase + uint64(len(mem.b))
		device := l.devices(2)[0][0]
		for _, c := range []struct {
			name   string
			va, pa uint64
			mapped bool
			prot   pagetable.Prot // bits that must be set
			not    pagetable.Prot // bits that must not
		}{
			{"first byte of RAM", l.DirectMap + l.RAMBase, l.RAMBase, true, pagetable.Write | pagetable.Exec, pagetable.User | pagetable.Device},
			{"last byte of RAM", l.DirectMap + end - 1, end - 1, true, pagetable.Write | pagetable.Exec, pagetable.User | pagetable.Device},
			{"behind RAM", l.DirectMap + end, 0, false, 0, 0},
			{"entry", r.Kernel.Entry, r.Kernel.Phys + 0x10, true, pagetable.Exec | pagetable.Write, pagetable.User},
			{"last byte of the image", r.Kernel.Virt + r.Kernel.Size - 1, r.Kernel.Phys + r.Kernel.Size - 1, true, pagetable.Exec, pagetable.User},
			{"device", l.DirectMap + device, device, true, pagetable.Write | pagetable.Device, pagetable.Exec},
			{"virtio", l.DirectMap + q.Virtio[0].Base, q.Virtio[0].Base, true, pagetable.Write | pagetable.Device, pagetable.Exec},
			{"user space", 0x400000, 0, false, 0, 0},
		} {
			w := walk(l, mem, r.Root, c.va)
			if mapped := w.Result == pagetable.WalkMapped; mapped != c.mapped {
				t.Errorf("%s: %v", c.name, w)
				continue
			}
			if c.mapped && (w.PA != c.pa || w.Prot&c.prot != c.prot || w.Prot&c.not != 0) {
				t.Errorf("%s: %v, want %#x with %v and without %v", c.name, w, c.pa, c.prot, c.not)
			}
		}
	})
}

// The largest machine's page tables fit their place.
func TestBootTablesOfTheLargestMachine(t *testing.T) {
	everyLayout(t, func(t *testing.T, l *Layout) {
		mem := newRAM(l.RAMBase, 16*megabyte)
		low := min(uint64(128<<30), l.LowRAMEnd-l.RAMBase)
		ram := [][2]uint64{{l.RAMBase, low}}
		if low < 128<<30 {
			ram = append(ram, [2]uint64{4 << 30, 128<<30 - low})
		}
		k := &Kernel{Phys: l.RAMBase + kernelOffset, Size: maxImage, Virt: l.KernelMap + l.RAMBase + kernelOffset}
		_, size, err := writeTables(l, mem, k, ram, mergeRanges(append(l.devices(bootinfo.MaxCPUs), l.hidden...)))
		if err != nil {
			t.Fatal(err)
		}
		if size > tablesEnd-tablesOffset || mem.touched(tablesOffset+size, uint64(len(mem.b))) {
			t.Errorf("%d KiB of page tables", size>>10)
		}
	})
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		is         error
		spoil      func(q *Request)
	}{
		{"initramfs larger than memory", "--mem", ErrNoRoom, func(q *Request) { q.InitrdSize = 1 << 40 }},
		{"windows larger than memory", "--mem", ErrNoRoom, func(q *Request) { q.DebugSize = 1 << 40 }},
		{"windows that are no pages", "--mem", ErrNoRoom, func(q *Request) { q.DebugSize = 100 }},
		{"initramfs that leaves no room", "--mem", ErrNoRoom, func(q *Request) { q.InitrdSize = 16*megabyte - kernelOffset }},
		{"initramfs shorter than announced", "fewer than announced", nil, func(q *Request) { q.InitrdSize += 10 }},
		{"initramfs longer than announced", "more bytes than announced", nil, func(q *Request) { q.InitrdSize -= 10 }},
		{"initramfs that fails", "disk on fire", nil, func(q *Request) {
			q.Initrd = func(io.Writer) error { return errors.New("disk on fire") }
		}},
		{"long command line", "command line", nil, func(q *Request) { q.CommandLine = strings.Repeat("x", 4097) }},
		{"no CPU", "vCPUs", bootinfo.ErrInvalid, func(q *Request) { q.CPUs = 0 }},
		{"RAM elsewhere", "does not start", nil, func(q *Request) { q.RAM[0][0] += 0x1000 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyLayout(t, func(t *testing.T, l *Layout) {
				q := request(l, newRAM(l.RAMBase, 16*megabyte))
				c.spoil(q)
				_, err := Load(q)
				if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("err = %v, want %q", err, c.want)
				}
			})
		})
	}
}

// A file copied into the initramfs goes through ReadFrom; sizes still have to match.
func TestInitramfsFromReader(t *testing.T) {
	l, _ := LayoutOf("amd64")
	for _, c := range []struct {
		have, announced int
		ok              bool
	}{{5000, 5000, true}, {4999, 5000, false}, {5001, 5000, false}, {8192, 8192, true}} {
		mem := newRAM(0, 16*megabyte)
		q := request(l, mem)
		q.InitrdSize = uint64(c.announced)
		data := bytes.Repeat([]byte{7}, c.have)
		q.Initrd = func(w io.Writer) error {
			_, err := io.Copy(w, struct{ io.Reader }{bytes.NewReader(data)})
			return err
		}
		r, err := Load(q)
		if (err == nil) != c.ok {
			t.Errorf("%d bytes, %d announced: err = %v", c.have, c.announced, err)
		}
		if c.ok && !bytes.Equal(mem.b[r.Initrd:][:c.have], data) {
			t.Errorf("%d bytes: memory differs", c.have)
		}
	}
}
