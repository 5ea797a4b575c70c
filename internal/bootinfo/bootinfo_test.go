package bootinfo

import (
	"errors"
	"testing"
	"unsafe"
)

// The kernel's entry assembly and a monitor of another build rely on these offsets.
func TestLayoutIsPinned(t *testing.T) {
	var i Info
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"CPUs", unsafe.Offsetof(i.CPUs), 16},
		{"CommandLine", unsafe.Offsetof(i.CommandLine), 32},
		{"CounterHz", unsafe.Offsetof(i.CounterHz), 64},
		{"RandomSeed", unsafe.Offsetof(i.RandomSeed), 80},
		{"KernelPhys", unsafe.Offsetof(i.KernelPhys), 112},
		{"BootTables", unsafe.Offsetof(i.BootTables), 144},
		{"Ranges", unsafe.Offsetof(i.Ranges), 240},
		{"MMIO", unsafe.Offsetof(i.MMIO), 240 + MaxRanges*24},
		{"Phases", unsafe.Offsetof(i.Phases), 240 + MaxRanges*24 + MaxMMIO*24},
	} {
		if f.got != f.want {
			t.Errorf("offset of %s = %d, want %d", f.name, f.got, f.want)
		}
	}
	if s := unsafe.Sizeof(i); s > PageSize {
		t.Errorf("Info is %d bytes, more than a page", s)
	}
}

func valid() Info {
	i := Info{Magic: Magic, Version: Version, CPUs: 2, NumRanges: 2, CounterHz: 1e9}
	i.Ranges[0] = Range{Base: 0x1000, Size: 0x1000, Kind: RangeBoot}
	i.Ranges[1] = Range{Base: 0x2000, Size: 0x10000, Kind: RangeUsable}
	return i
}

func TestCheck(t *testing.T) {
	ok := valid()
	if err := ok.Check(); err != nil {
		t.Fatalf("valid info refused: %v", err)
	}
	for name, spoil := range map[string]func(*Info){
		"magic":             func(i *Info) { i.Magic++ },
		"version":           func(i *Info) { i.Version++ },
		"no CPU":            func(i *Info) { i.CPUs = 0 },
		"too many CPUs":     func(i *Info) { i.CPUs = MaxCPUs + 1 },
		"too many ranges":   func(i *Info) { i.NumRanges = MaxRanges + 1 },
		"too many windows":  func(i *Info) { i.NumMMIO = MaxMMIO + 1 },
		"long command line": func(i *Info) { i.CommandLineSize = MaxCommandLine + 1 },
		"no counter":        func(i *Info) { i.CounterHz = 0 },
		"overlap":           func(i *Info) { i.Ranges[1].Base = 0x1000 },
		"unaligned":         func(i *Info) { i.Ranges[1].Size++ },
		"empty range":       func(i *Info) { i.Ranges[0].Size = 0 },
		"wrapping range":    func(i *Info) { i.Ranges[1].Size = ^uint64(0) &^ 0xfff },
	} {
		i := valid()
		spoil(&i)
		if err := i.Check(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: err = %v, want ErrInvalid", name, err)
		}
	}
}
