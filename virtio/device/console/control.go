package console

import (
	"errors"
	"io"

	spec "ringo/virtio/console"
)

// sendControl is the worker of the control receive queue: it delivers pending messages.
func (c *Console) sendControl(w *worker) error {
	for {
		msg, ok := c.peekControl()
		if !ok {
			if err := w.wait(); err != nil {
				return err
			}
			continue
		}
		if err := w.next(); err != nil {
			return err
		}
		n, err := w.chain.Write(msg.Append(w.buf[:0]))
		if err != nil && !errors.Is(err, io.ErrShortWrite) {
			return err
		}
		// A buffer too small for the message gets what fits: the driver chose it.
		if err := w.complete(uint32(n)); err != nil {
			return err
		}
		c.dropControl()
	}
}

func (c *Console) peekControl() (spec.Control, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return spec.Control{}, false
	}
	return c.pending[0], true
}

// dropControl forgets the message that peekControl answered: only sendControl removes.
func (c *Console) dropControl() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return // reset
	}
	c.pending = c.pending[1:]
	if len(c.pending) == 0 {
		c.pending = nil
	}
	c.kickLocked(spec.QueueControlTx)
}

// takeControl is the worker of the control transmit queue: it reads the guest's messages.
func (c *Console) takeControl(w *worker) error {
	for {
		for c.crowded() {
			if err := w.wait(); err != nil {
				return err
			}
		}
		if err := w.next(); err != nil {
			return err
		}
		n, err := w.chain.Read(w.buf[:spec.ControlSize])
		if err != nil && err != io.EOF {
			return err
		}
		if msg, err := spec.ParseControl(w.buf[:n]); err == nil {
			c.handle(msg)
		} // what is too short says nothing
		if err := w.complete(0); err != nil {
			return err
		}
	}
}

func (c *Console) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) >= maxPending
}

// handle obeys one message of the guest. Ports that do not exist are ignored.
func (c *Console) handle(msg spec.Control) {
	if msg.Event == spec.EventDeviceReady {
		if msg.Value == 1 {
			for i := range c.ports {
				c.post(spec.Control{Port: uint32(i), Event: spec.EventPortAdd})
			}
		}
		return
	}
	if uint64(msg.Port) >= uint64(len(c.ports)) {
		return
	}
	p := c.ports[msg.Port]
	switch msg.Event {
	case spec.EventPortReady:
		if msg.Value != 1 {
			return
		}
		if p.index == spec.PortConsole {
			c.post(spec.Control{Port: msg.Port, Event: spec.EventConsolePort, Value: 1})
		}
		c.post(
			spec.Control{Port: msg.Port, Event: spec.EventPortName, Name: p.name},
			spec.Control{Port: msg.Port, Event: spec.EventPortOpen, Value: 1})
	case spec.EventPortOpen:
		p.setGuestOpen(msg.Value != 0)
		c.kick(spec.RxQueue(p.index))
	}
}

func (c *Console) post(msgs ...spec.Control) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, msgs...)
	c.kickLocked(spec.QueueControlRx)
}
