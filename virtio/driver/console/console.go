// Package console is the guest's driver for Ringo's console: a virtio console whose ports are
// those of virtio/console, known by contract. It is ordinary Go code: the kernel calls it from
// goroutines, tests from anywhere.
//
// A Port never blocks in TryRead and TryWrite; OnReadable and OnWritable tell when to try
// again. Read, Write and Drain are the blocking forms.
//
// Output is batched: while the device still has some of a port's bytes, further ones
// collect in the next buffer and go out together, so that a program that writes single
// bytes costs one notification (an exit from the guest) per round trip and not per byte.
// For the same reason New asks the device as little as it can and waits for nothing: every
// register access of a boot is an exit too.
//
// Lock order: a port's mu, then a link's mu. Callbacks run without either.
package console

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	spec "ringo/virtio/console"
	"ringo/virtio/mmio"
	"ringo/virtio/queue"
)

// Env is what the driver needs of the kernel.
type Env struct {
	// Alloc answers size bytes of zeroed, physically contiguous memory and their GPA,
	// both page aligned. It is never given back: a device is for life.
	Alloc func(size int) (mem []byte, gpa uint64, err error)
	// Wait blocks the calling goroutine until the device's interrupt has fired since the
	// last call, and answers false when it will not again.
	Wait func() bool
}

const (
	bufferSize = 4096 // bytes of each buffer
	// Buffers a queue. Together they bound what is under way in one direction of a port:
	// 32 KiB to the guest, 64 KiB to the host.
	rxBuffers   = 8
	txBuffers   = 16
	ctrlBuffers = 16
)

// ErrGone: the device failed or was taken away.
var ErrGone = errors.New("virtio console is gone")

// Console is a running device.
type Console struct {
	guest *mmio.Guest
	env   Env
	ports [spec.NumPorts]*Port
	links []*link // by queue, nil for the receive queues of ports that only send

	ctrlRx, ctrlTx *link

	mu  sync.Mutex
	err error
}

// New starts the console behind regs. It runs one goroutine until env.Wait answers false.
func New(regs mmio.Registers, env Env) (*Console, error) {
	guest, err := mmio.Probe(regs)
	if err != nil {
		return nil, err
	}
	if id := guest.DeviceID(); id != mmio.IDConsole {
		return nil, fmt.Errorf("virtio device %d is not a console (%d)", id, mmio.IDConsole)
	}
	features, err := guest.Negotiate(queue.FeatureEventIdx, queue.FeatureVersion1|spec.FeatureMultiport)
	if err != nil {
		return nil, err
	}
	c := &Console{guest: guest, env: env}
	if err := c.setup(features&queue.FeatureEventIdx != 0); err != nil {
		guest.Fail()
		return nil, fmt.Errorf("virtio console: %w", err)
	}
	if err := guest.DriverOK(); err != nil {
		return nil, fmt.Errorf("virtio console: %w", err)
	}
	c.open()
	go c.serve()
	return c, nil
}

// setup makes the queues and fills the receive queues, which the device finds when it starts.
func (c *Console) setup(eventIdx bool) error {
	var config [4]byte
	if err := c.guest.ReadConfig(spec.ConfigMaxPorts, config[:]); err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint32(config[:]); n != spec.NumPorts {
		return fmt.Errorf("the device has %d ports, want %d: monitor and kernel are of different builds", n, spec.NumPorts)
	}
	c.links = make([]*link, spec.NumQueues(spec.NumPorts))
	link := func(q, buffers int) (err error) {
		if c.links[q], err = c.newLink(q, buffers, eventIdx); err != nil {
			err = fmt.Errorf("queue %d: %w", q, err)
		}
		return err
	}
	for i := range c.ports {
		p := &Port{c: c, index: i}
		p.changed.L = &p.mu
		c.ports[i] = p
		if !spec.OutputOnly(i) {
			if err := link(spec.RxQueue(i), rxBuffers); err != nil {
				return err
			}
		}
		if err := link(spec.TxQueue(i), txBuffers); err != nil {
			return err
		}
		p.rx, p.tx = c.links[spec.RxQueue(i)], c.links[spec.TxQueue(i)]
	}
	if err := errors.Join(link(spec.QueueControlRx, ctrlBuffers), link(spec.QueueControlTx, ctrlBuffers)); err != nil {
		return err
	}
	c.ctrlRx, c.ctrlTx = c.links[spec.QueueControlRx], c.links[spec.QueueControlTx]
	return nil
}

// open tells the device at once that the driver is up, knows every port and has it open. What
// the device says about its ports meanwhile holds no news but a name that should not be.
func (c *Console) open() {
	var batch [][]byte
	add := func(m spec.Control) { batch = append(batch, m.Append(nil)) }
	add(spec.Control{Event: spec.EventDeviceReady, Value: 1})
	for i := range c.ports {
		add(spec.Control{Port: uint32(i), Event: spec.EventPortReady, Value: 1})
		add(spec.Control{Port: uint32(i), Event: spec.EventPortOpen, Value: 1})
	}
	c.ctrlTx.sendMessages(batch)
}

// Port answers the port of that name (virtio/console.PortNames), or nil.
func (c *Console) Port(name string) *Port {
	if i := slices.Index(spec.PortNames[:], name); i >= 0 {
		return c.ports[i]
	}
	return nil
}

// Err is why the console has stopped, or nil.
func (c *Console) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// serve turns interrupts into progress.
func (c *Console) serve() {
	for c.env.Wait() {
		if err := c.service(); err != nil {
			c.stop(fmt.Errorf("%w: %w", ErrGone, err))
			return
		}
	}
	c.stop(ErrGone)
}

func (c *Console) service() error {
	msgs, err := c.ctrlRx.takeControl()
	if err != nil {
		return err
	}
	for _, m := range msgs {
		if m.Event == spec.EventPortName && (m.Port >= spec.NumPorts || m.Name != spec.PortNames[m.Port]) {
			return fmt.Errorf("port %d is called %q: monitor and kernel are of different builds", m.Port, m.Name)
		}
	}
	for _, p := range c.ports {
		if err := p.service(); err != nil {
			return fmt.Errorf("port %d: %w", p.index, err)
		}
	}
	return nil
}

func (c *Console) stop(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	for _, p := range c.ports {
		p.hangUp()
	}
}
