package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe" // for the offset of a field only

	"ringo/internal/bootinfo"
)

// Request is what to boot and the machine it boots on.
type Request struct {
	Layout     *Layout
	Memory     Memory
	RAM        [][2]uint64 // base and size in GPA, ordered
	CPUs       int
	Kernel     io.ReaderAt
	KernelSize uint64 // bytes of the file
	// Share, if set, makes guest memory show part of the kernel file in place of a copy, with the
	// same effect. For files that do not change.
	Share func(gpa, size uint64, offset int64) error
	// Initrd writes the initramfs, InitrdSize bytes exactly, to a writer that is the
	// guest's memory; InitrdSize 0: none.
	Initrd      func(io.Writer) error
	InitrdSize  uint64
	CommandLine string
	// DebugSize and TraceSize are the bytes of the debug and trace windows, whole pages; 0: none.
	DebugSize, TraceSize uint64
	Virtio               []bootinfo.MMIO
	CounterHz            uint64
	Seed                 [32]byte
	// Mark, if set, is told when a step has been done.
	Mark func(step string)
}

// Result is a machine ready to run.
type Result struct {
	Kernel Kernel
	Info   uint64 // GPA of the boot info page: the entry's first argument
	Root   uint64 // GPA of the boot page tables
	Early  uint64 // GVA of the early exception vectors
	Initrd uint64 // GPA
	Debug  bootinfo.Window
	Trace  bootinfo.Window
}

// ErrNoRoom is wrapped where the guest's memory is too small for what it is to hold.
var ErrNoRoom = errors.New("guest memory is too small")

// Load fills guest memory. Memory is untouched where the result is an error of Check; after a
// later one its contents are undefined.
func Load(q *Request) (*Result, error) {
	l := q.Layout
	if len(q.CommandLine) > bootinfo.MaxCommandLine {
		return nil, fmt.Errorf("command line of %d bytes, at most %d", len(q.CommandLine), bootinfo.MaxCommandLine)
	}
	if len(q.RAM) == 0 || q.RAM[0][0] != l.RAMBase {
		return nil, fmt.Errorf("guest RAM does not start at %#x", l.RAMBase)
	}
	k, err := LoadKernel(l, q.Memory, q.Kernel, q.KernelSize, q.Share)
	if err != nil {
		return nil, err
	}
	mark := q.Mark
	if mark == nil {
		mark = func(string) {}
	}
	mark("kernel loaded")
	windows, err := placeWindows(q, k)
	if err != nil {
		return nil, err
	}
	initrd, err := placeInitrd(q, k, windows)
	if err != nil {
		return nil, err
	}
	if err := fill(q.Memory, initrd, q.InitrdSize, q.Initrd); err != nil {
		return nil, err
	}
	mark("initramfs loaded")
	devices := l.devices(q.CPUs)
	for _, w := range q.Virtio {
		devices = append(devices, [2]uint64{w.Base, w.Size})
	}
	devices = mergeRanges(devices)
	root, _, err := writeTables(l, q.Memory, k, q.RAM, append(devices[:len(devices):len(devices)], l.hidden...))
	if err != nil {
		return nil, err
	}
	if err := q.Memory.WriteAt(l.RAMBase+commandLineOffset, []byte(q.CommandLine), loader); err != nil {
		return nil, err
	}
	early := l.DirectMap + l.RAMBase + earlyOffset
	if err := q.Memory.WriteAt(l.RAMBase+earlyOffset, l.early(early), loader); err != nil {
		return nil, err
	}
	info := describe(q, k, initrd, root, windows, devices)
	if err := info.Check(); err != nil {
		return nil, err
	}
	var page bytes.Buffer
	if err := binary.Write(&page, binary.LittleEndian, info); err != nil {
		return nil, fmt.Errorf("encode boot info: %w", err)
	}
	at := l.RAMBase + infoOffset
	if err := q.Memory.WriteAt(at, page.Bytes(), loader); err != nil {
		return nil, err
	}
	return &Result{Kernel: *k, Info: at, Root: root, Early: early, Initrd: initrd, Debug: info.Debug, Trace: info.Trace}, nil
}

// SetWallClock writes the time, ns since 1970, into the boot info page at GPA info: the last
// thing before the vCPUs start, as the kernel counts on from it.
func SetWallClock(mem Memory, info uint64, now int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(now))
	return mem.WriteAt(info+uint64(unsafe.Offsetof(bootinfo.Info{}.WallClock)), b[:], loader)
}

// placeWindows is the GPA at which the windows end low RAM.
func placeWindows(q *Request, k *Kernel) (uint64, error) {
	end := q.RAM[0][0] + q.RAM[0][1]
	size := q.DebugSize + q.TraceSize
	if size%pageSize != 0 || size < q.DebugSize || size > end-min(end, k.Phys+k.Size) {
		return 0, fmt.Errorf("%w: debug and trace windows of %d KiB do not fit behind the kernel: give it more with --mem", ErrNoRoom, size>>10)
	}
	return end - size, nil
}

// placeInitrd is the GPA at which the initramfs lies, below the windows.
func placeInitrd(q *Request, k *Kernel, end uint64) (uint64, error) {
	if q.InitrdSize == 0 {
		return 0, nil
	}
	free := end - min(end, k.Phys+k.Size)
	if q.InitrdSize > free {
		return 0, fmt.Errorf("%w: an initramfs of %d KiB does not fit the %d KiB that the kernel leaves below %#x: give it more with --mem",
			ErrNoRoom, q.InitrdSize>>10, free>>10, end)
	}
	at := (end - q.InitrdSize) &^ (pageSize - 1)
	if at < k.Phys+k.Size {
		return 0, fmt.Errorf("%w: an initramfs of %d KiB does not fit behind the kernel: give it more with --mem", ErrNoRoom, q.InitrdSize>>10)
	}
	return at, nil
}

// fill lets write fill exactly size bytes of guest memory.
func fill(mem Memory, gpa, size uint64, write func(io.Writer) error) error {
	if size == 0 {
		return nil
	}
	b, err := mem.Slice(gpa, size, true, loader)
	if err != nil {
		return err
	}
	w := &sliceWriter{b}
	if err := write(w); err != nil {
		return err
	}
	if len(w.rest) != 0 {
		return fmt.Errorf("initramfs: %d bytes fewer than announced: did a file change?", len(w.rest))
	}
	return nil
}

// sliceWriter fills a slice and refuses more.
type sliceWriter struct{ rest []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	n := copy(w.rest, p)
	w.rest = w.rest[n:]
	if n < len(p) {
		return n, errors.New("more bytes than announced: did a file change?")
	}
	return n, nil
}

// ReadFrom lets io.Copy read a file straight into guest memory.
func (w *sliceWriter) ReadFrom(r io.Reader) (total int64, err error) {
	for {
		into := w.rest
		if len(into) == 0 {
			into = make([]byte, 1) // is that really the end?
		}
		n, err := r.Read(into)
		if n > 0 && len(w.rest) == 0 {
			_, err = w.Write(into[:n])
			return total, err
		}
		w.rest = w.rest[n:]
		total += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return total, err
		}
	}
}

// mergeRanges sorts page-aligned ranges and joins those that touch.
func mergeRanges(in [][2]uint64) [][2]uint64 {
	slices.SortFunc(in, func(a, b [2]uint64) int {
		if a[0] < b[0] {
			return -1
		}
		return 1
	})
	var out [][2]uint64
	for _, r := range in {
		if n := len(out); n > 0 && out[n-1][0]+out[n-1][1] == r[0] {
			out[n-1][1] += r[1]
		} else {
			out = append(out, r)
		}
	}
	return out
}

// describe makes the boot info page.
func describe(q *Request, k *Kernel, initrd, root, windows uint64, devices [][2]uint64) *bootinfo.Info {
	l := q.Layout
	i := &bootinfo.Info{
		Magic: bootinfo.Magic, Version: bootinfo.Version,
		CPUs:        uint32(q.CPUs),
		CommandLine: l.RAMBase + commandLineOffset, CommandLineSize: uint64(len(q.CommandLine)),
		Initrd: initrd, InitrdSize: q.InitrdSize,
		CounterHz: q.CounterHz, RandomSeed: q.Seed,
		KernelPhys: k.Phys, KernelSize: k.Size, KernelVirt: k.Virt,
		DirectMap: l.DirectMap, BootTables: root,
	}
	i.Size = uint32(binary.Size(i))
	l.info(i)
	i.NumMMIO = uint32(copy(i.MMIO[:], q.Virtio))
	var ranges []bootinfo.Range
	add := func(base, end uint64, kind bootinfo.RangeKind) {
		if end > base {
			ranges = append(ranges, bootinfo.Range{Base: base, Size: end - base, Kind: kind})
		}
	}
	for _, d := range devices {
		add(d[0], d[0]+d[1], bootinfo.RangeDevice)
	}
	base, end := q.RAM[0][0], q.RAM[0][0]+q.RAM[0][1]
	i.Debug = bootinfo.Window{Base: windows, Size: q.DebugSize}
	i.Trace = bootinfo.Window{Base: windows + q.DebugSize, Size: q.TraceSize}
	kernelEnd, initrdStart, initrdEnd := k.Phys+k.Size, windows, windows
	if q.InitrdSize > 0 {
		initrdStart = initrd
	}
	add(l.UsableBase, base+infoOffset, bootinfo.RangeUsable)
	add(base+infoOffset, base+tablesEnd, bootinfo.RangeBoot)
	add(base+tablesEnd, k.Phys, bootinfo.RangeUsable)
	add(k.Phys, kernelEnd, bootinfo.RangeKernel)
	add(kernelEnd, initrdStart, bootinfo.RangeUsable)
	add(initrdStart, initrdEnd, bootinfo.RangeInitrd)
	add(windows, end, bootinfo.RangeWindow)
	for _, r := range q.RAM[1:] {
		add(r[0], r[0]+r[1], bootinfo.RangeUsable)
	}
	slices.SortFunc(ranges, func(a, b bootinfo.Range) int {
		if a.Base < b.Base {
			return -1
		}
		return 1
	})
	i.NumRanges = uint32(copy(i.Ranges[:], ranges))
	return i
}
