// Package console is the monitor's side of a virtio console with several ports (virtio
// 1.2, section 5.3). Each port is a byte stream both ways between the guest and whoever
// holds the Port on the host.
//
// Flow control: what a guest sends waits in a buffer of BufferSize bytes until the host
// reads; when it is full the device leaves the guest's chains where they are. What the host
// writes waits in another of the same size until the guest has opened the port and offered
// room; then Write blocks. So a guest can make the host hold 2*BufferSize bytes a port and
// no more.
//
// Every queue has one goroutine, from Activate to Reset. They never wait for the host
// other than on Kick channels, so that a reset ends them at once.
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

const (
	// BufferSize is the most a port holds in each direction, in bytes.
	BufferSize = 64 << 10
	// queueSize is the number of descriptors of each queue.
	queueSize = 64
	// batch is how many chains a worker completes before it considers an interrupt.
	batch = 16
	// maxPending is how many control messages may wait for the guest before the device
	// stops taking more of its requests. Each request makes at most one a port plus two.
	maxPending = 256
)

// Console is the device. Make it with New.
type Console struct {
	ports []*Port

	mu      sync.Mutex
	pending []spec.Control // for the guest
	run     *running       // nil when not active
}

// running is one life of the device, from Activate to Reset.
type running struct {
	act  mmio.Activation
	kick []chan struct{} // by queue
	stop chan struct{}
	wg   sync.WaitGroup
}

// New is a console with one port a name. Names are at most console.MaxName bytes.
func New(names ...string) (*Console, error) {
	if len(names) == 0 || len(names) > 31 {
		return nil, fmt.Errorf("virtio-console with %d ports: want 1 to 31", len(names))
	}
	c := &Console{}
	for i, name := range names {
		if len(name) > spec.MaxName {
			return nil, fmt.Errorf("virtio-console port name %q is longer than %d bytes", name, spec.MaxName)
		}
		c.ports = append(c.ports, newPort(c, i, name))
	}
	return c, nil
}

// Port is port i, one of those New was told of.
func (c *Console) Port(i int) *Port { return c.ports[i] }

// Close ends all ports on the host's side, as Port.Close does.
func (c *Console) Close() {
	for _, p := range c.ports {
		p.Close()
	}
}

// Name, ID, Features and QueueSizes describe the device to the transport.
func (c *Console) Name() string     { return "virtio-console" }
func (c *Console) ID() uint32       { return mmio.IDConsole }
func (c *Console) Features() uint64 { return spec.FeatureMultiport }

// QueueSizes is one size a queue.
func (c *Console) QueueSizes() []uint16 {
	sizes := make([]uint16, spec.NumQueues(len(c.ports)))
	for i := range sizes {
		sizes[i] = queueSize
	}
	return sizes
}

// ReadConfig reads configuration space: only the number of ports is not zero.
func (c *Console) ReadConfig(off uint32, p []byte) {
	var space [spec.ConfigSize]byte
	binary.LittleEndian.PutUint32(space[spec.ConfigMaxPorts:], uint32(len(c.ports)))
	clear(p)
	if off < uint32(len(space)) {
		copy(p, space[off:])
	}
}

// WriteConfig ignores the write: emergency output is not offered.
func (c *Console) WriteConfig(uint32, []byte) {}

// Notify wakes the worker of queue q.
func (c *Console) Notify(q int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kickLocked(q)
}

func (c *Console) kick(q int) { c.Notify(q) }

func (c *Console) kickLocked(q int) {
	if c.run == nil {
		return
	}
	select {
	case c.run.kick[q] <- struct{}{}:
	default: // one is waiting already
	}
}

// Activate starts a goroutine for every queue that the driver has set up.
func (c *Console) Activate(act mmio.Activation) error {
	r := &running{act: act, stop: make(chan struct{}), kick: make([]chan struct{}, len(act.Queues))}
	for q := range r.kick {
		r.kick[q] = make(chan struct{}, 1)
	}
	multiport := act.Features&spec.FeatureMultiport != 0
	for _, p := range c.ports {
		p.setGuestOpen(!multiport && p.index == 0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run, c.pending = r, nil
	start := func(q int, work func(w *worker) error) {
		if act.Queues[q] == nil {
			return
		}
		w := &worker{run: r, q: act.Queues[q], kick: r.kick[q]}
		r.wg.Go(func() { w.loop(c.Name(), q, work) })
	}
	for _, p := range c.ports {
		if p.index != 0 && !multiport {
			break
		}
		start(spec.RxQueue(p.index), p.feedGuest)
		start(spec.TxQueue(p.index), p.drainGuest)
	}
	if multiport {
		start(spec.QueueControlRx, c.sendControl)
		start(spec.QueueControlTx, c.takeControl)
	}
	return nil
}

// Reset ends all workers. Bytes that wait for the host stay; those for the guest too.
func (c *Console) Reset() {
	c.mu.Lock()
	r := c.run
	c.run = nil
	c.mu.Unlock()
	if r == nil {
		return
	}
	close(r.stop)
	r.wg.Wait()
	for _, p := range c.ports {
		p.setGuestOpen(false)
	}
}

// worker runs one queue.
type worker struct {
	run   *running
	q     *queue.Device
	kick  chan struct{}
	chain queue.Chain
	done  int // chains completed since NeedInterrupt was asked
	buf   [4096]byte
}

var errStopped = errors.New("device was reset")

func (w *worker) loop(name string, q int, work func(*worker) error) {
	defer func() {
		// A bug that a guest can reach must cost it the device, not everyone the monitor.
		if r := recover(); r != nil {
			w.run.act.Fail(fmt.Errorf("%s queue %d: internal error: %v", name, q, r))
		}
	}()
	if err := work(w); err != nil && !errors.Is(err, errStopped) {
		w.run.act.Fail(err)
	}
}

// next waits for the driver's next chain.
func (w *worker) next() error {
	for {
		ok, err := w.q.Next(&w.chain)
		if ok || err != nil {
			return err
		}
		if err := w.flush(); err != nil {
			return err
		}
		waiting, err := w.q.EnableNotify()
		if err != nil {
			return err
		}
		if waiting {
			continue
		}
		if err := w.wait(); err != nil {
			return err
		}
		if err := w.q.DisableNotify(); err != nil {
			return err
		}
	}
}

// wait sleeps until the queue is notified or the host's side of the port has changed.
// Interrupts that are due go out first.
func (w *worker) wait() error {
	if err := w.flush(); err != nil {
		return err
	}
	select {
	case <-w.kick:
		return nil
	case <-w.run.stop:
		return errStopped
	}
}

// stopped reports whether the device was reset, for loops that need not wait.
func (w *worker) stopped() error {
	select {
	case <-w.run.stop:
		return errStopped
	default:
		return nil
	}
}

// complete gives the chain back and interrupts once a batch.
func (w *worker) complete(written uint32) error {
	if err := w.q.Complete(&w.chain, written); err != nil {
		return err
	}
	if w.done++; w.done >= batch {
		return w.flush()
	}
	return w.stopped()
}

func (w *worker) flush() error {
	if w.done == 0 {
		return nil
	}
	w.done = 0
	need, err := w.q.NeedInterrupt()
	if need {
		w.run.act.Interrupt()
	}
	return err
}
