package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// figures are several boots of one kind of guest.
type figures struct {
	Arch   string        `json:"arch"`
	CPUs   int           `json:"cpus"`
	Boots  int           `json:"boots"`
	Phases []phaseSpread `json:"phases"`
	// RSS is the monitor's resident memory without guest memory, bytes; CPU the time that the
	// monitor and its guest ran for in one boot.
	RSS   spread[uint64]        `json:"monitor_rss_bytes"`
	Guest spread[uint64]        `json:"guest_resident_bytes"`
	CPU   spread[time.Duration] `json:"cpu_ns"`
	// IdleCPU is the part of a host CPU that the guest takes while its program sleeps.
	IdleCPU *float64 `json:"idle_cpu,omitempty"`
	// Exits and KVM are those of the last boot.
	Exits map[string]uint64 `json:"exits"`
	KVM   map[string]uint64 `json:"kvm"`
}

// phaseSpread is one phase: when it was reached, and how long after the one before.
type phaseSpread struct {
	Name string                `json:"name"`
	Side string                `json:"side"`
	At   spread[time.Duration] `json:"at_ns"`
	Took spread[time.Duration] `json:"took_ns"`
}

type spread[T ~int64 | ~uint64] struct {
	Min    T `json:"min"`
	Median T `json:"median"`
	Max    T `json:"max"`
}

// spreadOf answers zeroes for no values. The median of an even number is the lower one.
func spreadOf[T ~int64 | ~uint64](values []T) (s spread[T]) {
	if len(values) == 0 {
		return s
	}
	slices.Sort(values)
	return spread[T]{values[0], values[(len(values)-1)/2], values[len(values)-1]}
}

// summarise takes phases by name, in the order of the first boot that has them; a boot that lacks
// one says nothing about it.
func summarise(arch string, cpus int, boots []boot) figures {
	f := figures{Arch: arch, CPUs: cpus, Boots: len(boots)}
	at, took := map[string][]time.Duration{}, map[string][]time.Duration{}
	var rss, guest []uint64
	var cpu []time.Duration
	for _, b := range boots {
		var last time.Duration
		for _, p := range b.Phases {
			if at[p.Name] == nil {
				f.Phases = append(f.Phases, phaseSpread{Name: p.Name, Side: p.Side})
			}
			at[p.Name] = append(at[p.Name], p.At)
			took[p.Name] = append(took[p.Name], p.At-last)
			last = p.At
		}
		rss, guest, cpu = append(rss, b.RSS), append(guest, b.Guest), append(cpu, b.CPU)
		f.Exits, f.KVM = b.Exits, b.KVM
	}
	for i := range f.Phases {
		p := &f.Phases[i]
		p.At, p.Took = spreadOf(at[p.Name]), spreadOf(took[p.Name])
	}
	f.RSS, f.Guest, f.CPU = spreadOf(rss), spreadOf(guest), spreadOf(cpu)
	return f
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func mib(n uint64) float64 { return float64(n) / (1 << 20) }

// write prints the figures for people.
func (f figures) write(w io.Writer, exits bool) {
	fmt.Fprintf(w, "\n%s, %d vCPU, %d boots                       reached after, ms           took, ms\n", f.Arch, f.CPUs, f.Boots)
	fmt.Fprintf(w, "%-8s %-24s %8s %8s %8s   %8s %8s %8s\n", "", "", "min", "median", "max", "min", "median", "max")
	for _, p := range f.Phases {
		fmt.Fprintf(w, "%-8s %-24s %8.1f %8.1f %8.1f   %8.1f %8.1f %8.1f\n", p.Side, p.Name,
			ms(p.At.Min), ms(p.At.Median), ms(p.At.Max), ms(p.Took.Min), ms(p.Took.Median), ms(p.Took.Max))
	}
	fmt.Fprintf(w, "monitor's memory without the guest's: %.1f MiB (at most %.1f); guest memory touched: %.1f MiB; CPU time of a boot: %.0f ms (at least %.0f)\n",
		mib(f.RSS.Median), mib(f.RSS.Max), mib(f.Guest.Median), ms(f.CPU.Median), ms(f.CPU.Min))
	if f.IdleCPU != nil {
		fmt.Fprintf(w, "idle guest: %.2f %% of a CPU\n", 100**f.IdleCPU)
	}
	var toMonitor uint64
	for _, n := range f.Exits {
		toMonitor += n
	}
	fmt.Fprintf(w, "exits of the last boot: %d to the monitor", toMonitor)
	if n, ok := f.KVM["exits"]; ok {
		fmt.Fprintf(w, ", %d in all", n)
	}
	fmt.Fprintln(w)
	if !exits {
		return
	}
	for _, counts := range []map[string]uint64{f.Exits, f.KVM} {
		names := slices.Collect(maps.Keys(counts))
		slices.SortFunc(names, func(a, b string) int {
			if counts[a] != counts[b] {
				return int(int64(counts[b]) - int64(counts[a]))
			}
			if a < b {
				return -1
			}
			return 1
		})
		for _, n := range names {
			if counts[n] > 0 {
				fmt.Fprintf(w, "%10d  %s\n", counts[n], n)
			}
		}
		fmt.Fprintln(w)
	}
}
