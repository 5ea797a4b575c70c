package boot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"ringo/internal/bootinfo"
)

// benchKernel is the kernel that `make build` made, or else one made up.
func benchKernel(b *testing.B, l *Layout) []byte {
	b.Helper()
	if file, err := os.ReadFile(filepath.Join("..", "..", "build", l.Arch, "ringo.elf")); err == nil {
		return file
	}
	return largeKernel(l)
}

// BenchmarkLoadKernel places a kernel in memory that is there already: copying, zeroing and relocating. "shared" maps
// the file's read-only pages in place of copying them, as in the hosted machines.
func BenchmarkLoadKernel(b *testing.B) {
	for _, arch := range []string{"amd64", "arm64"} {
		l, err := LayoutOf(arch)
		if err != nil {
			b.Fatal(err)
		}
		file := benchKernel(b, l)
		mem := newRAM(l.RAMBase, 64<<20)
		for name, share := range map[string]func(uint64, uint64, int64) error{
			"copied": nil,
			"shared": func(uint64, uint64, int64) error { return nil },
		} {
			b.Run(arch+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := LoadKernel(l, mem, bytes.NewReader(file), uint64(len(file)), share); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRelocate applies the relocations alone.
func BenchmarkRelocate(b *testing.B) {
	for _, arch := range []string{"amd64", "arm64"} {
		l, err := LayoutOf(arch)
		if err != nil {
			b.Fatal(err)
		}
		file := benchKernel(b, l)
		mem := newRAM(l.RAMBase, 64<<20)
		im := &image{l: l, r: bytes.NewReader(file), size: uint64(len(file))}
		for _, step := range []func() error{im.header, im.programHeaders, im.findRelocations} {
			if err := step(); err != nil {
				b.Fatal(err)
			}
		}
		k, err := im.place(mem)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(arch, func(b *testing.B) {
			for b.Loop() {
				if err := im.relocate(mem, k); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(im.relan), "relocations")
		})
	}
}

// BenchmarkBootTables builds and writes the boot page tables.
func BenchmarkBootTables(b *testing.B) {
	for _, arch := range []string{"amd64", "arm64"} {
		for name, size := range map[string]uint64{"256M": 256 << 20, "2G": 2 << 30} {
			l, err := LayoutOf(arch)
			if err != nil {
				b.Fatal(err)
			}
			mem := newRAM(l.RAMBase, 2<<20)
			k := &Kernel{Phys: l.RAMBase + kernelOffset, Size: 8 << 20, Virt: l.KernelMap + l.RAMBase + kernelOffset}
			devices := mergeRanges(l.devices(2))
			b.Run(arch+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := writeTables(l, mem, k, [][2]uint64{{l.RAMBase, size}}, devices); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkDescribe makes the boot info page and checks it, as the kernel does.
func BenchmarkDescribe(b *testing.B) {
	l, err := LayoutOf("amd64")
	if err != nil {
		b.Fatal(err)
	}
	k := &Kernel{Phys: l.RAMBase + kernelOffset, Size: 8 << 20, Virt: l.KernelMap + l.RAMBase + kernelOffset}
	q := &Request{Layout: l, RAM: [][2]uint64{{l.RAMBase, 256 << 20}}, CPUs: 2, CounterHz: 1e9, Virtio: []bootinfo.MMIO{{Base: 0xd0000000, Size: 0x1000, IRQ: 5}}}
	devices := mergeRanges(l.devices(2))
	for b.Loop() {
		if err := describe(q, k, 0, 0, q.RAM[0][1], devices).Check(); err != nil {
			b.Fatal(err)
		}
	}
}
