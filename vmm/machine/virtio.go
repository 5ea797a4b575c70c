package machine

import "fmt"

// VirtioWindow is one virtio-mmio register window with its interrupt.
type VirtioWindow struct {
	Base, Size uint64 // GPA
	IRQ        uint32 // as bootinfo.MMIO.IRQ
	Interrupt  *Interrupt
	m          *Machine
}

// NewVirtioWindow takes the next window. Before Run; the machine owns its resources.
func (m *Machine) NewVirtioWindow() (*VirtioWindow, error) {
	i := m.virtio
	if i >= maxVirtio {
		return nil, fmt.Errorf("%d virtio devices, this platform has room for %d", i+1, maxVirtio)
	}
	e, err := m.newEventFD(fmt.Sprintf("virtio interrupt %d", i))
	if err != nil {
		return nil, err
	}
	if err := m.vm.IRQFD(e.fd, virtioGSI+uint32(i)); err != nil {
		return nil, err
	}
	m.virtio++
	return &VirtioWindow{
		Base: virtioBase + uint64(i)*virtioStride, Size: virtioStride,
		IRQ: virtioIRQ + uint32(i), Interrupt: &Interrupt{e}, m: m,
	}, nil
}

// Attach puts the device's registers into the window.
func (w *VirtioWindow) Attach(name string, dev MMIODevice) error {
	return w.m.AddMMIO(name, w.Base, w.Size, dev)
}

// NotifyFD makes a 32-bit write of value (a queue's index) to the register at offset signal
// the returned eventfd instead of leaving the guest for the monitor. The machine closes it.
func (w *VirtioWindow) NotifyFD(offset uint64, value uint32) (*EventFD, error) {
	e, err := w.m.newEventFD(fmt.Sprintf("virtio notify %#x/%d", w.Base, value))
	if err != nil {
		return nil, err
	}
	if err := w.m.vm.IOEventFD(e.fd, w.Base+offset, value); err != nil {
		return nil, err
	}
	return e, nil
}

// VirtioWindows is how many windows have been taken.
func (m *Machine) VirtioWindows() int { return m.virtio }

func (m *Machine) newEventFD(name string) (*EventFD, error) {
	e, err := newEventFD(name)
	if err != nil {
		return nil, err
	}
	m.owned = append(m.owned, e)
	return e, nil
}
