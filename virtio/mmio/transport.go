package mmio

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"ringo/virtio/queue"
)

// Device is a device model: it knows queues, features and its configuration space, and
// nothing of registers or interrupts. The Transport calls its methods one at a time.
type Device interface {
	// Name is the device's name in reports ("virtio-console").
	Name() string
	// ID is the virtio device ID.
	ID() uint32
	// Features are the device's own features; the transport adds queue.FeatureVersion1,
	// FeatureIndirect and FeatureEventIdx.
	Features() uint64
	// QueueSizes are the largest sizes of the queues, each a power of two.
	QueueSizes() []uint16
	// ReadConfig copies configuration space at off to p and zeroes what lies behind it.
	ReadConfig(off uint32, p []byte)
	// WriteConfig changes configuration space; what cannot be written is ignored.
	WriteConfig(off uint32, p []byte)
	// Activate starts the device: the driver has set DRIVER_OK. It must not block.
	Activate(Activation) error
	// Notify tells a running device that the driver has added to queue q, which is one
	// of its queues. Called from vCPU threads and ioeventfd readers: it must not block.
	Notify(q int)
	// Reset stops the device. When it returns nothing touches the Activation's queues any
	// more. It must not wait for the driver or for the outside world.
	Reset()
}

// Activation is what a device gets to run with until Reset.
type Activation struct {
	Features uint64
	// Queues by number, nil where the driver set none up. Each belongs to one goroutine
	// of the device at a time.
	Queues []*queue.Device
	// Interrupt tells the driver that queues have used buffers.
	Interrupt func()
	// ConfigChanged tells the driver that configuration space has changed.
	ConfigChanged func()
	// Fail reports that the device cannot go on until it is reset. First cause wins.
	Fail func(error)
}

// Interrupt is the device's interrupt line, an edge at each Trigger. It must not block and
// may be called from any goroutine.
type Interrupt interface{ Trigger() }

// Transport is the register window of one device. All methods may be called from any
// goroutine.
type Transport struct {
	mem  queue.Memory
	irq  Interrupt
	dev  Device
	size []uint16 // largest queue sizes

	status     atomic.Uint32
	isr        atomic.Uint32
	generation atomic.Uint32
	live       atomic.Pointer[liveness] // non-nil between DRIVER_OK and reset

	failMu sync.Mutex
	failed error

	mu        sync.Mutex // guards what follows and calls of dev other than Notify
	active    bool       // dev.Activate was called and dev.Reset was not
	devSel    uint32
	drvSel    uint32
	drvBits   uint64
	queueSel  uint32
	queues    []queueState
	queueDevs []*queue.Device
}

// liveness says which queues accept notifications.
type liveness struct{ ready []bool }

type queueState struct {
	size              uint32
	desc, avail, used uint64
	ready             bool
}

const transportFeatures = queue.FeatureVersion1 | queue.FeatureIndirect | queue.FeatureEventIdx

// NewTransport is a window for dev, whose queues lie in mem.
func NewTransport(dev Device, mem queue.Memory, irq Interrupt) *Transport {
	t := &Transport{mem: mem, irq: irq, dev: dev, size: dev.QueueSizes()}
	t.queues = make([]queueState, len(t.size))
	t.queueDevs = make([]*queue.Device, len(t.size))
	return t
}

// Name is the device's name.
func (t *Transport) Name() string { return t.dev.Name() }

// Queues is the number of queues: values that QueueNotify takes.
func (t *Transport) Queues() int { return len(t.size) }

// Status is the device status register.
func (t *Transport) Status() uint32 { return t.status.Load() }

// Err is why the device needs a reset, or nil.
func (t *Transport) Err() error {
	t.failMu.Lock()
	defer t.failMu.Unlock()
	return t.failed
}

// Read fills p with what the driver reads at offset off of the window.
func (t *Transport) Read(off uint64, p []byte) {
	clear(p)
	if off >= WindowSize || uint64(len(p)) > WindowSize-off {
		return
	}
	if off >= Config {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.dev.ReadConfig(uint32(off-Config), p)
		return
	}
	if len(p) != 4 || off%4 != 0 {
		return
	}
	binary.LittleEndian.PutUint32(p, t.readReg(uint32(off)))
}

// Write does what the driver asks by writing p at offset off of the window.
func (t *Transport) Write(off uint64, p []byte) {
	if off >= WindowSize || uint64(len(p)) > WindowSize-off {
		return
	}
	if off >= Config {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.status.Load()&StatusDriver != 0 {
			t.dev.WriteConfig(uint32(off-Config), p)
		}
		return
	}
	if len(p) != 4 || off%4 != 0 {
		return
	}
	v := binary.LittleEndian.Uint32(p)
	if off == RegQueueNotify {
		t.Notify(v)
		return
	}
	t.writeReg(uint32(off), v)
}

// Notify is a write of q to QueueNotify; an ioeventfd's reader calls it too.
func (t *Transport) Notify(q uint32) {
	live := t.live.Load()
	if live == nil || uint64(q) >= uint64(len(live.ready)) || !live.ready[q] {
		return
	}
	t.dev.Notify(int(q))
}

// Close stops the device for good, as a reset does.
func (t *Transport) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resetLocked()
}

func (t *Transport) readReg(off uint32) uint32 {
	switch off {
	case RegMagic:
		return Magic
	case RegVersion:
		return Version
	case RegDeviceID:
		return t.dev.ID()
	case RegVendorID:
		return Vendor
	case RegInterruptStatus:
		return t.isr.Load()
	case RegStatus:
		return t.status.Load()
	case RegConfigGeneration:
		return t.generation.Load()
	case RegSHMLenLow, RegSHMLenHigh, RegSHMBaseLow, RegSHMBaseHigh:
		return ^uint32(0)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch off {
	case RegDeviceFeatures:
		return half(t.offered(), t.devSel)
	case RegQueueNumMax:
		if t.selectedLocked() != nil {
			return uint32(t.size[t.queueSel])
		}
	case RegQueueReady:
		if q := t.selectedLocked(); q != nil && q.ready {
			return 1
		}
	}
	return 0
}

func (t *Transport) offered() uint64 { return t.dev.Features() | transportFeatures }

func half(v uint64, sel uint32) uint32 {
	switch sel {
	case 0:
		return uint32(v)
	case 1:
		return uint32(v >> 32)
	}
	return 0
}

func (t *Transport) selectedLocked() *queueState {
	if uint64(t.queueSel) < uint64(len(t.queues)) {
		return &t.queues[t.queueSel]
	}
	return nil
}

func (t *Transport) writeReg(off, v uint32) {
	if off == RegInterruptACK {
		t.isr.And(^v)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch off {
	case RegStatus:
		t.setStatusLocked(v)
	case RegDeviceFeaturesSel:
		t.devSel = v
	case RegDriverFeaturesSel:
		t.drvSel = v
	case RegQueueSel:
		t.queueSel = v
	case RegDriverFeatures:
		if s := t.status.Load(); s&StatusDriver == 0 || s&(StatusFeaturesOK|StatusFailed) != 0 {
			return
		}
		switch t.drvSel {
		case 0:
			t.drvBits = t.drvBits&^0xffffffff | uint64(v)
		case 1:
			t.drvBits = t.drvBits&0xffffffff | uint64(v)<<32
		}
	default:
		t.writeQueueLocked(off, v)
	}
}

// writeQueueLocked programs the selected queue: only between FEATURES_OK and DRIVER_OK,
// and what lies behind QueueReady only while the queue is not ready.
func (t *Transport) writeQueueLocked(off, v uint32) {
	q := t.selectedLocked()
	s := t.status.Load()
	if q == nil || s&StatusFeaturesOK == 0 || s&(StatusDriverOK|StatusFailed|StatusNeedsReset) != 0 {
		return
	}
	if off == RegQueueReady {
		switch {
		case v == 0:
			q.ready, t.queueDevs[t.queueSel] = false, nil
		case v == 1 && !q.ready:
			t.readyLocked(int(t.queueSel), q)
		}
		return
	}
	if q.ready {
		return
	}
	switch off {
	case RegQueueNum:
		q.size = v
	case RegQueueDescLow:
		q.desc = low(q.desc, v)
	case RegQueueDescHigh:
		q.desc = high(q.desc, v)
	case RegQueueDriverLow:
		q.avail = low(q.avail, v)
	case RegQueueDriverHigh:
		q.avail = high(q.avail, v)
	case RegQueueDeviceLow:
		q.used = low(q.used, v)
	case RegQueueDeviceHigh:
		q.used = high(q.used, v)
	}
}

func low(old uint64, v uint32) uint64  { return old&^0xffffffff | uint64(v) }
func high(old uint64, v uint32) uint64 { return old&0xffffffff | uint64(v)<<32 }

func (t *Transport) readyLocked(i int, q *queueState) {
	if q.size > queue.MaxSize {
		t.fail(fmt.Errorf("%w: queue %d: size %d", queue.ErrBroken, i, q.size))
		return
	}
	dev, err := queue.NewDevice(t.mem, queue.Config{
		Size: uint16(q.size), Desc: q.desc, Avail: q.avail, Used: q.used,
		EventIdx: t.drvBits&queue.FeatureEventIdx != 0,
		Indirect: t.drvBits&queue.FeatureIndirect != 0,
		Device:   t.dev.Name(), Index: i,
	}, t.size[i])
	if err != nil {
		t.fail(fmt.Errorf("queue %d: %w", i, err))
		return
	}
	q.ready, t.queueDevs[i] = true, dev
}

// setStatusLocked takes the legal steps of virtio 1.2 section 3.1.1 and no others: bits
// are set in order, never cleared, except all at once.
func (t *Transport) setStatusLocked(v uint32) {
	if v == 0 {
		t.resetLocked()
		return
	}
	s := t.status.Load()
	have := s &^ (StatusNeedsReset | StatusFailed)
	v &^= StatusNeedsReset // ours to set
	switch {
	case v&StatusFailed != 0:
		t.status.Or(StatusFailed)
	case s&StatusFailed != 0:
	case v == have: // nothing new
	case have == 0 && v == StatusAcknowledge,
		have == StatusAcknowledge && v == have|StatusDriver,
		have == 0 && v == StatusAcknowledge|StatusDriver:
		t.status.Or(v)
	case have == StatusAcknowledge|StatusDriver && v == have|StatusFeaturesOK:
		// A driver learns that its features are refused by the bit's staying clear.
		if t.drvBits&^t.offered() == 0 && t.drvBits&queue.FeatureVersion1 != 0 {
			t.status.Or(StatusFeaturesOK)
		}
	case have == StatusAcknowledge|StatusDriver|StatusFeaturesOK && v == have|StatusDriverOK:
		if s&StatusNeedsReset == 0 {
			t.activateLocked()
		}
	}
}

func (t *Transport) activateLocked() {
	live := &liveness{ready: make([]bool, len(t.queues))}
	queues := make([]*queue.Device, len(t.queues))
	for i := range t.queues {
		live.ready[i] = t.queues[i].ready
		queues[i] = t.queueDevs[i]
	}
	t.status.Or(StatusDriverOK)
	t.active = true
	err := t.dev.Activate(Activation{
		Features:      t.drvBits,
		Queues:        queues,
		Interrupt:     func() { t.raise(InterruptQueue) },
		ConfigChanged: t.configChanged,
		Fail:          t.fail,
	})
	if err != nil {
		t.fail(fmt.Errorf("%s: %w", t.dev.Name(), err))
		return
	}
	t.live.Store(live)
}

func (t *Transport) resetLocked() {
	t.live.Store(nil)
	if t.active {
		t.dev.Reset()
		t.active = false
	}
	t.devSel, t.drvSel, t.drvBits, t.queueSel = 0, 0, 0, 0
	clear(t.queues)
	clear(t.queueDevs)
	t.failMu.Lock()
	t.failed = nil
	t.failMu.Unlock()
	t.isr.Store(0)
	t.status.Store(0)
}

func (t *Transport) raise(bit uint32) {
	t.isr.Or(bit)
	t.irq.Trigger()
}

func (t *Transport) configChanged() {
	t.generation.Add(1)
	t.raise(InterruptConfig)
}

// fail needs no lock: devices call it from their goroutines while a reset waits for them.
func (t *Transport) fail(err error) {
	t.failMu.Lock()
	if t.failed == nil {
		t.failed = err
	}
	t.failMu.Unlock()
	if t.status.Or(StatusNeedsReset)&StatusDriverOK != 0 {
		t.raise(InterruptConfig)
	}
}
