// Package console is the guest's driver for a virtio console with several ports. It is
// ordinary Go code: the kernel calls it from goroutines, tests from anywhere.
//
// A Port never blocks in TryRead and TryWrite; OnReadable and OnWritable tell when to try
// again. Read, Write and Drain are the blocking forms.
//
// Output is batched: while the device still has some of a port's bytes, further ones
// collect in the next buffer and go out together, so that a program that writes single
// bytes costs one notification (an exit from the guest) per round trip and not per byte.
//
// Lock order: a port's mu, then a link's mu. Callbacks run without either.
package console

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	ports []*Port
	links []*link // by queue

	ctrlRx, ctrlTx *link

	mu    sync.Mutex
	ready sync.Cond // of open and err
	open  int       // ports the host has opened
	err   error
}

// New starts the console behind regs. It runs one goroutine until env.Wait answers false,
// and returns when the host has opened all ports.
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
	c.ready.L = &c.mu
	if err := c.setup(features&queue.FeatureEventIdx != 0); err != nil {
		guest.Fail()
		return nil, fmt.Errorf("virtio console: %w", err)
	}
	if err := guest.DriverOK(); err != nil {
		return nil, err
	}
	for _, l := range c.links {
		if l.fill() {
			guest.Notify(l.index)
		}
	}
	go c.serve()
	c.control(spec.Control{Event: spec.EventDeviceReady, Value: 1})

	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open < len(c.ports) && c.err == nil {
		c.ready.Wait()
	}
	return c, c.err
}

func (c *Console) setup(eventIdx bool) error {
	var config [spec.ConfigSize]byte
	if err := c.guest.ReadConfig(0, config[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(config[spec.ConfigMaxPorts:])
	if n == 0 || n > 31 {
		return fmt.Errorf("device claims %d ports", n)
	}
	for i := range int(n) {
		p := &Port{c: c, index: i}
		p.changed.L = &p.mu
		c.ports = append(c.ports, p)
	}
	c.links = make([]*link, spec.NumQueues(int(n)))
	for q := range c.links {
		buffers, rx := rxBuffers, q%2 == 0
		if !rx {
			buffers = txBuffers
		}
		if q == spec.QueueControlRx || q == spec.QueueControlTx {
			buffers = ctrlBuffers
		}
		l, err := c.newLink(q, buffers, rx, eventIdx)
		if err != nil {
			return fmt.Errorf("queue %d: %w", q, err)
		}
		c.links[q] = l
	}
	for i, p := range c.ports {
		p.rx, p.tx = c.links[spec.RxQueue(i)], c.links[spec.TxQueue(i)]
	}
	c.ctrlRx, c.ctrlTx = c.links[spec.QueueControlRx], c.links[spec.QueueControlTx]
	return nil
}

// Port answers the port of that name, or nil.
func (c *Console) Port(name string) *Port {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.ports {
		if p.name == name {
			return p
		}
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
	for {
		msgs, err := c.ctrlRx.takeControl()
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			break
		}
		for _, m := range msgs {
			c.handle(m)
		}
	}
	if _, _, err := c.ctrlTx.reclaim(); err != nil {
		return err
	}
	for _, p := range c.ports {
		if err := p.service(); err != nil {
			return fmt.Errorf("port %d: %w", p.index, err)
		}
	}
	return nil
}

func (c *Console) handle(m spec.Control) {
	if m.Port >= uint32(len(c.ports)) {
		return
	}
	p := c.ports[m.Port]
	switch m.Event {
	case spec.EventPortAdd:
		c.control(spec.Control{Port: m.Port, Event: spec.EventPortReady, Value: 1})
	case spec.EventPortName:
		c.mu.Lock()
		p.name = m.Name
		c.mu.Unlock()
	case spec.EventPortOpen:
		c.mu.Lock()
		first := !p.known && m.Value == 1
		if first {
			p.known = true
			c.open++
			c.ready.Broadcast()
		}
		c.mu.Unlock()
		if first {
			c.control(spec.Control{Port: m.Port, Event: spec.EventPortOpen, Value: 1})
		}
	}
}

// control sends a message to the device. Only New and the service goroutine send, a few
// messages a port, so a full queue means that the device has stopped taking them.
func (c *Console) control(m spec.Control) {
	if n := c.ctrlTx.send(m.Append(nil), true); n == 0 {
		c.stop(fmt.Errorf("%w: control queue is full", ErrGone))
	}
}

func (c *Console) stop(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.ready.Broadcast()
	c.mu.Unlock()
	for _, p := range c.ports {
		p.hangUp()
	}
}
