package machine

import (
	"fmt"

	"ringo/internal/kvm"
)

// Exits counts the exits of all vCPUs to the monitor: by reason, and for registers by device,
// offset and direction. Only after Run has returned.
func (m *Machine) Exits() map[string]uint64 {
	out := map[string]uint64{}
	for _, c := range m.cpus {
		for k, n := range c.history.kinds {
			out[m.exitName(k)] += n
		}
	}
	return out
}

func (m *Machine) exitName(k exitKind) string {
	var b *bus
	switch k.reason {
	case kvm.ReasonMMIO:
		b = &m.mmio
	case kvm.ReasonIO:
		b = &m.pio
	default:
		return k.reason.String()
	}
	switch w := b.find(k.addr, 1); {
	case w != nil:
		return fmt.Sprintf("%s %s %s+%#x", k.reason, verb(k.write), w.name, k.addr-w.base)
	case k.addr == ^uint64(0):
		return k.reason.String() + " elsewhere"
	}
	return fmt.Sprintf("%s %s %#x", k.reason, verb(k.write), k.addr)
}

// Stats are KVM's counters, those of all vCPUs added up. nil where KVM has none.
func (m *Machine) Stats() map[string]uint64 {
	out := map[string]uint64{}
	for _, c := range m.cpus {
		s, err := c.v.Stats()
		if err != nil {
			return nil
		}
		for name, n := range s {
			out[name] += n
		}
	}
	return out
}
