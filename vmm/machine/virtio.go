package machine

import (
	"fmt"

	"ringo/internal/bootinfo"
	"ringo/virtio/mmio"
)

// VirtioDevice is a device behind a virtio-mmio window: virtio/mmio.Transport.
type VirtioDevice interface {
	MMIODevice
	Name() string
	// Queues is how many queues there are, Notify a write of q to QueueNotify; it does not block.
	Queues() int
	Notify(q uint32)
	// Close stops the device: when it returns, nothing touches guest memory any more.
	Close()
}

// VirtioWindow is one virtio-mmio register window with its interrupt.
type VirtioWindow struct {
	bootinfo.MMIO
	Interrupt *Interrupt
	m         *Machine
}

// NewVirtioWindow takes the next window. Before Run; the machine owns its resources.
func (m *Machine) NewVirtioWindow() (*VirtioWindow, error) {
	i := len(m.windows)
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
	w := &VirtioWindow{Interrupt: &Interrupt{e}, m: m}
	w.Base, w.Size, w.IRQ = virtioBase+uint64(i)*virtioStride, virtioStride, virtioIRQ+uint32(i)
	m.windows = append(m.windows, w.MMIO)
	return w, nil
}

// VirtioWindows are the windows taken so far, as the boot info lists them.
func (m *Machine) VirtioWindows() []bootinfo.MMIO { return m.windows }

// Attach puts the device into the window. Notifications of its queues end no KVM_RUN: each
// queue has an ioeventfd and a goroutine that passes it on. The machine's Close closes the device.
func (w *VirtioWindow) Attach(dev VirtioDevice) error {
	m := w.m
	if err := m.AddMMIO(dev.Name(), w.Base, w.Size, dev); err != nil {
		return err
	}
	m.devices = append(m.devices, dev)
	for q := range uint32(dev.Queues()) {
		e, err := newEventFD(fmt.Sprintf("%s notify %d", dev.Name(), q))
		if err != nil {
			return err
		}
		m.notify = append(m.notify, e)
		if err := m.vm.IOEventFD(e.fd, w.Base+mmio.RegQueueNotify, q); err != nil {
			return err
		}
		m.notifiers.Go(func() {
			for e.Wait() == nil {
				dev.Notify(q)
			}
		})
	}
	return nil
}

func (m *Machine) newEventFD(name string) (*EventFD, error) {
	e, err := newEventFD(name)
	if err != nil {
		return nil, err
	}
	m.owned = append(m.owned, e)
	return e, nil
}
