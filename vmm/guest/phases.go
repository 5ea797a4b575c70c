package guest

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
	"unsafe"

	"ringo/internal/bootinfo"
	"ringo/virtio/queue"
	"ringo/vmm/machine"
)

// Phase is one step of a boot.
type Phase struct {
	Name string        `json:"name"`
	Side string        `json:"side"` // "monitor" or "guest"
	At   time.Duration `json:"at_ns"`
}

// Phases are the steps of a boot in order, since the monitor's process began. The guest's are
// its counter's values, laid on the monitor's clock at the start of the vCPUs.
type Phases struct {
	List []Phase

	began time.Time
	start uint64 // guest counter at "vCPUs started"
	hz    uint64
}

func newPhases(began time.Time) Phases { return Phases{began: began} }

func (p *Phases) mark(name string) {
	p.List = append(p.List, Phase{name, "monitor", time.Since(p.began)})
}

// guest adds what the kernel stamped into the boot info page.
func (p *Phases) guest(mem *machine.Memory, info uint64) {
	var stamps [bootinfo.MaxPhases * 8]byte
	at := info + uint64(unsafe.Offsetof(bootinfo.Info{}.Phases))
	if p.hz == 0 || len(p.List) == 0 || mem.ReadAt(at, stamps[:], queue.NoQueue("boot phases")) != nil {
		return
	}
	base := p.List[len(p.List)-1].At
	for i := range bootinfo.NumPhases {
		stamp := binary.LittleEndian.Uint64(stamps[i*8:])
		// The guest writes these: what cannot be a time is left out.
		ticks := stamp - p.start
		if stamp == 0 || stamp < p.start || ticks/p.hz > 1e6 {
			continue
		}
		p.List = append(p.List, Phase{i.String(), "guest", base + time.Duration(float64(ticks)/float64(p.hz)*1e9)})
	}
}

// Report is a boot as JSON: what `vmm run --phases FILE` writes.
type Report struct {
	Phases []Phase `json:"phases"`
	*Use
}

// WriteTable writes the phases for people: time since the start and since the phase before.
func (p Phases) WriteTable(w io.Writer) {
	var last time.Duration
	for _, ph := range p.List {
		fmt.Fprintf(w, "%9.2f ms %+9.2f ms  %-7s  %s\n", float64(ph.At)/1e6, float64(ph.At-last)/1e6, ph.Side, ph.Name)
		last = ph.At
	}
}
