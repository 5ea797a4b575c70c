package nucleus

import (
	"debug/elf"
	"unsafe"

	"ringo/internal/bootinfo"
	"ringo/internal/pagetable"
)

// vdsoClockgettimeSym is where the runtime looks for a clock that needs no system call.
//
//go:linkname vdsoClockgettimeSym runtime.vdsoClockgettimeSym
var vdsoClockgettimeSym uintptr

// boot is Handlers.Boot: on CPU 0, on the boot page tables, before anything else. It takes
// over physical memory, writes the kernel's page tables, prepares the first runtime thread
// and lets all CPUs go.
func boot(infoPage uint64) {
	k.infoPage = infoPage
	copy(memory(uintptr(unsafe.Pointer(&k.info)), int(unsafe.Sizeof(k.info))),
		memory(uintptr(directMap+infoPage), int(unsafe.Sizeof(k.info))))
	i := &k.info
	if i.Magic != bootinfo.Magic || i.Version != bootinfo.Version || i.DirectMap != directMap ||
		i.CPUs == 0 || i.CPUs > bootinfo.MaxCPUs || i.NumRanges > bootinfo.MaxRanges || i.NumMMIO > bootinfo.MaxMMIO {
		fatalError("boot information is not of this kernel's version, at GPA", infoPage)
	}
	for n := range k.cpus {
		k.cpus[n].current = none
	}
	k.sched.init()
	k.fds.init()
	k.random.seed(&i.RandomSeed)
	k.vmas.base, k.vmas.limit = heapBase, heapEnd
	stampAt(bootinfo.PhaseEntry, entryCounter())
	initMachine(i)
	bootFrames()
	bootTables()
	setKernelRoot(k.root)
	loadRoot(k.root)
	bootTrace()
	bootThread()
	vdsoClockgettimeSym = clockFunc()
	stampAt(bootinfo.PhaseNucleus, counter())
	var areas [bootinfo.MaxCPUs]uint64
	for n := range int(i.CPUs) {
		areas[n] = mapArea()
	}
	for n := range int(i.CPUs) {
		publishArea(n, areas[n])
	}
}

func stampAt(p bootinfo.Phase, v uint64) {
	k.info.Phases[p] = v
	store64(directMap+k.infoPage+uint64(unsafe.Offsetof(k.info.Phases))+8*uint64(p), v)
}

// bootFrames gives usable memory to the frame allocator. Neighbouring ranges of RAM make one
// region; its records lie at the start of the largest usable range of all.
func bootFrames() {
	i := &k.info
	var best, bytes uint64
	ramRegions(func(base, size uint64) { bytes += recordBytes(size) + historyBytes(size) })
	at := uint64(0)
	for n := range i.NumRanges {
		if r := &i.Ranges[n]; r.Kind == bootinfo.RangeUsable && r.Size > best {
			at, best = r.Base, r.Size
		}
	}
	if best <= bytes {
		fatalError("no usable memory for frame records, bytes needed:", bytes)
	}
	records := at
	ramRegions(func(base, size uint64) {
		if !k.frames.addRegion(base, size, uintptr(directMap+records)) {
			fatalError("too many separate ranges of RAM, at", base)
		}
		records += recordBytes(size)
		if n := historyBytes(size); n != 0 {
			k.frames.regions[k.frames.numRegions-1].history = uintptr(directMap + records)
			records += n
		}
	})
	// What is not usable has an owner, so that nobody can free or take it. From the top down, as
	// what is given last is taken first: the host already has low memory, and each further 2 MiB
	// costs it a fault and 2 MiB of zeroing.
	for n := int(i.NumRanges) - 1; n >= 0; n-- {
		r := &i.Ranges[n]
		switch {
		case r.Kind == bootinfo.RangeDevice:
		case r.Kind == bootinfo.RangeKernel:
			start, end := unusedImage()
			k.frames.reserve(end, r.Base+r.Size-end)
			k.frames.addFree(start, end-start)
			k.frames.reserve(r.Base, start-r.Base)
		case r.Kind != bootinfo.RangeUsable:
			k.frames.reserve(r.Base, r.Size)
		case r.Base == at:
			k.frames.reserve(at, records-at)
			k.frames.addFree(records, r.Size-(records-at))
		default:
			k.frames.addFree(r.Base, r.Size)
		}
	}
}

// ramRegions calls f for every maximal run of RAM.
func ramRegions(f func(base, size uint64)) {
	i := &k.info
	var base, end uint64
	for n := range i.NumRanges {
		r := &i.Ranges[n]
		if r.Kind == bootinfo.RangeDevice {
			continue
		}
		if r.Base != end {
			if end != base {
				f(base, end-base)
			}
			base = r.Base
		}
		end = r.Base + r.Size
	}
	if end != base {
		f(base, end-base)
	}
}

// bootTables writes the kernel's page tables: the direct map without execute permission, the
// image as its program headers want it, devices.
func bootTables() {
	i := &k.info
	root, ok := tables{}.AllocTable()
	if !ok {
		fatalError("no frame for the root page table, free:", k.frames.freeFrames)
	}
	k.root = root
	t := kernelTable()
	image := i.KernelVirt - i.KernelPhys // the kernel's home of GPA 0
	overlap := image == directMap        // arm64: the image is mapped where the direct map would be
	ramRegions(func(base, size uint64) {
		if !overlap {
			mapBoot(&t, directMap+base, base, size, pagetable.Write|pagetable.Global)
			return
		}
		mapBoot(&t, directMap+base, base, i.KernelPhys-base, pagetable.Write|pagetable.Global)
		end := i.KernelPhys + i.KernelSize
		mapBoot(&t, directMap+end, end, base+size-end, pagetable.Write|pagetable.Global)
	})
	mapImage(&t, overlap)
	for n := range i.NumMMIO {
		mapDevicePages(&t, i.MMIO[n].Base, i.MMIO[n].Size)
	}
	for n := 0; ; n++ {
		gpa, size, ok := deviceRange(i, n)
		if !ok {
			break
		}
		mapDevicePages(&t, gpa, size)
	}
	// The tables below these root entries exist from now on, so every user root that copies the
	// kernel half sees what is mapped later.
	ensureSlot(&t, heapBase)
	ensureSlot(&t, specialBase)
	k.special = specialBase
}

func mapBoot(t *table, va, pa, size uint64, p pagetable.Prot) {
	if err := t.MapRange(va, pa, size, p, pagetable.Size2M); err != nil {
		fatalError("cannot map at", va)
	}
}

// fipsScratch is the size of crypto's entropy scratch buffer, which is linked in with any use of crypto/sha256 and used in FIPS 140 mode
// only: there is no such mode here. The linker puts the largest symbol of .noptrbss last, so it ends the image; a test looks.
const fipsScratch = 32 << 20

// unusedImage is the part of the image, whole pages, that is memory like any other: GPAs from start to end.
func unusedImage() (start, end uint64) {
	i := &k.info
	var last uint64 // behind the last byte, from the start of the image
	segments(func(p *elf.Prog64, off uint64) { last = max(last, off+p.Vaddr%pageSize+p.Memsz) })
	if last < fipsScratch {
		fatalError("the kernel image has no scratch buffer at its end, bytes:", last)
	}
	start = (i.KernelPhys + last - fipsScratch + pageSize - 1) &^ (pageSize - 1)
	return start, (i.KernelPhys + last) &^ (pageSize - 1)
}

// segments calls f for every PT_LOAD of the kernel image, by the program headers in its first one; off is where its first page lies in the image.
func segments(f func(p *elf.Prog64, off uint64)) {
	i := &k.info
	h := (*elf.Header64)(pointer(uintptr(i.KernelVirt)))
	if h.Ident[0] != 0x7f || h.Phnum == 0 || h.Phnum > 32 {
		fatalError("the kernel image does not start with its ELF header, at", i.KernelVirt)
	}
	var lowest uint64
	for n := range uint64(h.Phnum) {
		p := (*elf.Prog64)(pointer(uintptr(i.KernelVirt + h.Phoff + n*uint64(h.Phentsize))))
		if elf.ProgType(p.Type) != elf.PT_LOAD {
			continue
		}
		if lowest == 0 {
			lowest = p.Vaddr&^(pageSize-1) + 1
		}
		f(p, p.Vaddr&^(pageSize-1)-(lowest-1))
	}
}

// mapImage maps the kernel image with the protections of its own program headers: code is not writable, data not executable. What is
// not used of it is in the direct map only; where image and direct map are the same, all is mapped.
func mapImage(t *table, overlap bool) {
	i := &k.info
	from, to := unusedImage()
	segments(func(p *elf.Prog64, off uint64) {
		end := (off + p.Vaddr%pageSize + p.Memsz + pageSize - 1) &^ (pageSize - 1)
		prot := pagetable.Prot(pagetable.Global)
		if p.Flags&uint32(elf.PF_W) != 0 {
			prot |= pagetable.Write
		}
		if p.Flags&uint32(elf.PF_X) != 0 {
			prot |= pagetable.Exec
		}
		if phys := i.KernelPhys + off; !overlap && from >= phys && to <= i.KernelPhys+end {
			mapBoot(t, i.KernelVirt+off, phys, from-phys, prot)
			off += to - phys
		}
		mapBoot(t, i.KernelVirt+off, i.KernelPhys+off, end-off, prot)
	})
}

func mapDevicePages(t *table, gpa, size uint64) {
	base := gpa &^ (pageSize - 1)
	end := (gpa + size + pageSize - 1) &^ (pageSize - 1)
	for ; base < end; base += pageSize {
		err := t.Map(directMap+base, base, pageSize, pagetable.Write|pagetable.Device)
		if err != nil && !alreadyMapped(err) { // windows share pages
			fatalError("cannot map device memory at GPA", base)
		}
	}
}

// ensureSlot makes the root entry of va point to a table.
func ensureSlot(t *table, va uint64) {
	phys, ok := k.frames.alloc(0, OwnerNucleus)
	if !ok || t.Map(va, phys, pageSize, 0) != nil || t.Unmap(va, pageSize, nil) != nil {
		fatalError("no page tables for the region at", va)
	}
	k.frames.free(phys, 0)
}

// mapSpecial maps n fresh pages (contents undefined), except those for which guard answers true, and a guard page behind them.
func mapSpecial(n int, guard func(page int) bool) (va uint64) {
	t := kernelTable()
	va = k.special
	k.special += uint64(n+1) * pageSize
	for page := range n {
		if guard != nil && guard(page) {
			continue
		}
		phys, ok := k.frames.alloc(0, OwnerNucleus)
		if !ok || t.Map(va+uint64(page)*pageSize, phys, pageSize, pagetable.Write) != nil {
			fatalError("no memory for CPU areas and boot stack, at", va)
		}
	}
	tableBarrier()
	return va
}

// mapArea maps an area of a CPU. Only its last page, the per-CPU struct, has to be zero: the rest are stacks,
// and a page that is not touched costs the host nothing.
func mapArea() uint64 {
	va := mapSpecial(areaPages, areaGuard)
	clear(memory(uintptr(va+(areaPages-1)*pageSize), pageSize))
	return va
}

// The argument block of the runtime's entry point (System V ABI AMD64, 3.4.1).
const (
	bootStackPages = 33 // runtime.rt0_go claims 64 KiB below its SP; one guard page
	atNull         = 0
	atPageSize     = 6
	atHWCap        = 16
	atRandom       = 25
)

var (
	argv0      = [...]byte{'r', 'i', 'n', 'g', 'o', 0}
	envDebug   = [...]byte{'G', 'O', 'T', 'R', 'A', 'C', 'E', 'B', 'A', 'C', 'K', '=', 's', 'y', 's', 't', 'e', 'm', 0}
	randomSeed [16]byte
)

// bootThread prepares thread 0, which will run the Go runtime's own start code.
func bootThread() {
	stack := mapSpecial(bootStackPages, func(page int) bool { return page == 0 })
	top := stack + bootStackPages*pageSize
	k.random.read(randomSeed[:])
	block := [...]uint64{
		1, uint64(bytesAddr(argv0[:])), 0,
		uint64(bytesAddr(envDebug[:])), 0,
		atPageSize, pageSize,
		atRandom, uint64(bytesAddr(randomSeed[:])),
		atHWCap, hwCap(),
		atNull, 0,
	}
	sp := (top - uint64(unsafe.Sizeof(block))) &^ 15
	for n, v := range block {
		store64(sp+8*uint64(n), v)
	}
	i := k.sched.newThread()
	t := &k.sched.threads[i]
	if !giveVector(t) {
		fatalError("no memory for thread state, free frames:", k.frames.freeFrames)
	}
	t.ctx.InitRuntime(sp)
	k.sched.requeue(i, false)
}
