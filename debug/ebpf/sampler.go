// Package ebpf counts what KVM does for one monitor's process, from KVM's tracepoints: exits by reason with the time until
// the guest runs again, and the guest's page faults by frame. The programs are assembled here, so that no compiler is needed;
// where fields lie and what reasons are called is read from tracefs, as it differs between kernels.
//
// It needs CAP_BPF and CAP_PERFMON (or root), tracefs, and Linux 5.7. Open says in one line what is missing; nothing else
// depends on it.
package ebpf

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ErrUnavailable is wrapped by Open's errors.
var ErrUnavailable = errors.New("KVM's tracepoints cannot be used")

const (
	// A key of exits is the reason, and the detail above it.
	detailShift = 32
	// A key of times is a key of exits above the logarithm.
	bucketBits = 8
)

// Sampler counts until Close. Its methods belong to one goroutine at a time.
type Sampler struct {
	pid          int
	nsDev, nsIno uint64
	began        time.Time

	exits, times, frames, starts, lost *ebpf.Map
	links                              []link.Link
	programs                           []*ebpf.Program

	format         *format // of kvm_exit
	reason, detail field
	arm            bool
}

// Exit is the exits of one reason.
type Exit struct {
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
	// Time is how long the vCPUs were out of the guest, until the next entry: KVM, the monitor, and waiting to run.
	Time time.Duration `json:"time_ns"`
	// Histogram counts by binary logarithm: element i is times of 2^i to 2^(i+1) ns.
	Histogram []uint64 `json:"histogram"`
}

// Frame is the page faults on one frame of guest memory.
type Frame struct {
	GPA   uint64 `json:"gpa"`
	Count uint64 `json:"count"`
}

// Sample is what was counted since Open.
type Sample struct {
	Elapsed time.Duration `json:"elapsed_ns"`
	Exits   []Exit        `json:"exits"`  // most time first
	Frames  []Frame       `json:"frames"` // most faults first
	// Lost is how much found no room in the maps.
	Lost uint64 `json:"lost"`
}

// Open begins to count for the process pid, as the caller's own namespace numbers it.
func Open(pid int) (*Sampler, error) {
	s := &Sampler{pid: pid}
	if err := s.open(); err != nil {
		_ = s.Close() // what there is of it
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, explain(err))
	}
	return s, nil
}

func (s *Sampler) open() error {
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &ns); err != nil {
		return fmt.Errorf("/proc/self/ns/pid: %w", err)
	}
	s.nsDev, s.nsIno = ns.Dev, ns.Ino
	if err := s.readFormats(); err != nil {
		return err
	}
	// Kernels before 5.11 charge maps to the memory-lock limit; where it cannot be raised the kernel says so itself.
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	if err := s.makeMaps(); err != nil {
		return err
	}
	s.began = time.Now()
	fault, address, err := s.faultPoint()
	if err != nil {
		return err
	}
	for _, p := range []struct {
		tracepoint   string
		instructions asm.Instructions
	}{{"kvm_exit", s.onExit()}, {"kvm_entry", s.onEntry()}, {fault, s.onFault(address)}} {
		if err := s.attach(p.tracepoint, p.instructions); err != nil {
			return err
		}
	}
	return nil
}

// explain says what to do about the usual refusals.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: this needs root, or CAP_BPF, CAP_PERFMON and a readable tracefs", err)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: is tracefs mounted (mount -t tracefs tracefs /sys/kernel/tracing), and is this KVM's host?", err)
	}
	return err
}

func (s *Sampler) readFormats() error {
	var err error
	if s.format, err = readFormat("kvm", "kvm_exit"); err != nil {
		return err
	}
	if s.reason, err = s.format.need("exit_reason", 4, 8); err == nil { // x86
		s.detail = s.format.fields["isa"]
		return nil
	}
	s.arm = true
	if s.reason, err = s.format.need("ret", 4); err != nil {
		return err
	}
	s.detail, err = s.format.need("esr_ec", 1, 2, 4)
	return err
}

// faultPoint is the tracepoint of guest page faults with the field that has the guest-physical address.
func (s *Sampler) faultPoint() (name string, at field, err error) {
	name, address := "kvm_page_fault", "fault_address"
	if s.arm {
		name, address = "kvm_guest_fault", "ipa"
	}
	f, err := readFormat("kvm", name)
	if err == nil {
		at, err = f.need(address, 8)
	}
	return name, at, err
}

func (s *Sampler) makeMaps() error {
	var err error
	for _, m := range []struct {
		to         **ebpf.Map
		name       string
		kind       ebpf.MapType
		key, value uint32
		entries    uint32
	}{
		{&s.exits, "ringo_exits", ebpf.Hash, 8, 16, 512},
		{&s.times, "ringo_times", ebpf.Hash, 8, 16, 8192},
		{&s.frames, "ringo_frames", ebpf.Hash, 8, 16, 32768},
		{&s.starts, "ringo_starts", ebpf.LRUHash, 4, 16, 1024},
		{&s.lost, "ringo_lost", ebpf.Array, 4, 8, 1},
	} {
		if *m.to, err = ebpf.NewMap(&ebpf.MapSpec{Name: m.name, Type: m.kind, KeySize: m.key, ValueSize: m.value, MaxEntries: m.entries}); err != nil {
			return fmt.Errorf("map %s: %w", m.name, err)
		}
	}
	return nil
}

func (s *Sampler) attach(tracepoint string, instructions asm.Instructions) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "ringo_" + tracepoint, Type: ebpf.TracePoint, License: "GPL", Instructions: instructions})
	if err != nil {
		return fmt.Errorf("program for %s: %w", tracepoint, err)
	}
	s.programs = append(s.programs, p)
	l, err := link.Tracepoint("kvm", tracepoint, p, nil)
	if err != nil {
		return fmt.Errorf("attach to %s: %w", tracepoint, err)
	}
	s.links = append(s.links, l)
	return nil
}

// Close ends counting.
func (s *Sampler) Close() error {
	var errs []error
	for _, l := range s.links {
		errs = append(errs, l.Close())
	}
	for _, p := range s.programs {
		errs = append(errs, p.Close())
	}
	for _, m := range []*ebpf.Map{s.exits, s.times, s.frames, s.starts, s.lost} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}

// name is the reason in words.
func (s *Sampler) name(key uint64) string {
	reason, detail := key&(1<<detailShift-1), key>>detailShift
	switch {
	case s.arm && s.format.symbol(0, reason) == "TRAP":
		return s.format.symbol(1, detail)
	case s.arm:
		return s.format.symbol(0, reason)
	case detail == 2: // SVM; its table is behind VMX's
		return s.format.symbol(1, reason)
	}
	return s.format.symbol(0, reason&0xffff)
}

// Sample is what was counted so far.
func (s *Sampler) Sample() (*Sample, error) {
	out := &Sample{Elapsed: time.Since(s.began)}
	byKey := map[uint64]*Exit{}
	var key uint64
	var value [2]uint64
	for it := s.exits.Iterate(); it.Next(&key, &value); {
		byKey[key] = &Exit{Reason: s.name(key), Count: value[0], Time: time.Duration(value[1])}
	}
	for it := s.times.Iterate(); it.Next(&key, &value); {
		e, bucket := byKey[key>>bucketBits], int(key&(1<<bucketBits-1))
		if e == nil || bucket > 63 {
			continue
		}
		for len(e.Histogram) <= bucket {
			e.Histogram = append(e.Histogram, 0)
		}
		e.Histogram[bucket] = value[0]
	}
	for _, e := range byKey {
		out.Exits = append(out.Exits, *e)
	}
	slices.SortFunc(out.Exits, func(a, b Exit) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	for it := s.frames.Iterate(); it.Next(&key, &value); {
		out.Frames = append(out.Frames, Frame{GPA: key << 12, Count: value[0]})
	}
	slices.SortFunc(out.Frames, func(a, b Frame) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.GPA, b.GPA))
	})
	if err := s.lost.Lookup(uint32(0), &out.Lost); err != nil {
		return nil, fmt.Errorf("read the maps: %w", err)
	}
	return out, nil
}
