package mmio

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Registers is a device's window as the kernel reaches it: 32-bit accesses at offsets that
// are multiples of 4, in program order.
type Registers interface {
	Read32(off uint32) uint32
	Write32(off, v uint32)
}

// ErrNoDevice: the window holds no virtio device of the version spoken here.
var ErrNoDevice = errors.New("no virtio-mmio device")

// Guest is the driver's end of the transport. Methods other than Notify are for one
// goroutine at a time.
type Guest struct{ r Registers }

// Probe looks whether a device answers at r.
func Probe(r Registers) (*Guest, error) {
	if m := r.Read32(RegMagic); m != Magic {
		return nil, fmt.Errorf("%w: magic %#x", ErrNoDevice, m)
	}
	if v := r.Read32(RegVersion); v != Version {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrNoDevice, v, Version)
	}
	if r.Read32(RegDeviceID) == 0 {
		return nil, fmt.Errorf("%w: device ID 0", ErrNoDevice)
	}
	return &Guest{r}, nil
}

// DeviceID is the virtio device ID.
func (g *Guest) DeviceID() uint32 { return g.r.Read32(RegDeviceID) }

// Negotiate resets the device and agrees on features: those of want that it offers,
// all of need among them. On success queues can be set up.
func (g *Guest) Negotiate(want, need uint64) (features uint64, err error) {
	g.r.Write32(RegStatus, 0)
	// The device answers 0 once it has stopped. Ours has when the write retires; the
	// bound keeps a broken one from holding the boot.
	for i := 0; g.r.Read32(RegStatus) != 0; i++ {
		if i == 1000 {
			return 0, errors.New("virtio device does not leave reset")
		}
	}
	g.r.Write32(RegStatus, StatusAcknowledge)
	g.r.Write32(RegStatus, StatusAcknowledge|StatusDriver)
	var offered uint64
	for sel := range uint32(2) {
		g.r.Write32(RegDeviceFeaturesSel, sel)
		offered |= uint64(g.r.Read32(RegDeviceFeatures)) << (32 * sel)
	}
	features = offered & (want | need)
	if features&need != need {
		g.Fail()
		return 0, fmt.Errorf("virtio device offers features %#x, lacks %#x", offered, need&^offered)
	}
	for sel := range uint32(2) {
		g.r.Write32(RegDriverFeaturesSel, sel)
		g.r.Write32(RegDriverFeatures, uint32(features>>(32*sel)))
	}
	const ok = StatusAcknowledge | StatusDriver | StatusFeaturesOK
	g.r.Write32(RegStatus, ok)
	if s := g.r.Read32(RegStatus); s&StatusFeaturesOK == 0 {
		g.Fail()
		return 0, fmt.Errorf("virtio device refuses features %#x (status %#x)", features, s)
	}
	return features, nil
}

// QueueMax is the largest size of queue i, 0 when there is no such queue.
func (g *Guest) QueueMax(i int) uint16 {
	g.r.Write32(RegQueueSel, uint32(i))
	return uint16(min(g.r.Read32(RegQueueNumMax), 1<<15))
}

// SetQueue makes queue i of size descriptors ready, after Negotiate; the areas are GPAs. It
// asks nothing back, because each access costs an exit: a queue that the device refuses
// shows in DriverOK. Buffers may be published before DriverOK; the device looks at every
// queue once when it starts, so no notification is due for them.
func (g *Guest) SetQueue(i int, size uint16, desc, avail, used uint64) {
	g.r.Write32(RegQueueSel, uint32(i))
	g.r.Write32(RegQueueNum, uint32(size))
	g.writeAddress(RegQueueDescLow, desc)
	g.writeAddress(RegQueueDriverLow, avail)
	g.writeAddress(RegQueueDeviceLow, used)
	g.r.Write32(RegQueueReady, 1)
}

// writeAddress leaves out a high half of 0, which it is after the reset of Negotiate.
func (g *Guest) writeAddress(low uint32, v uint64) {
	g.r.Write32(low, uint32(v))
	if v>>32 != 0 {
		g.r.Write32(low+4, uint32(v>>32))
	}
}

// DriverOK starts the device. It fails when the device refused a queue.
func (g *Guest) DriverOK() error {
	g.r.Write32(RegStatus, StatusAcknowledge|StatusDriver|StatusFeaturesOK|StatusDriverOK)
	if s := g.r.Read32(RegStatus); s&StatusDriverOK == 0 || s&StatusNeedsReset != 0 {
		return fmt.Errorf("virtio device does not start: status %#x", s)
	}
	return nil
}

// NeedsReset reports whether the device has given up.
func (g *Guest) NeedsReset() bool { return g.r.Read32(RegStatus)&StatusNeedsReset != 0 }

// Fail tells the device that the driver has given up.
func (g *Guest) Fail() { g.r.Write32(RegStatus, g.r.Read32(RegStatus)|StatusFailed) }

// Reset stops the device.
func (g *Guest) Reset() { g.r.Write32(RegStatus, 0) }

// Notify tells the device that queue i has new chains. Callable from any goroutine.
func (g *Guest) Notify(i int) { g.r.Write32(RegQueueNotify, uint32(i)) }

// Interrupts reads and acknowledges the pending interrupt causes.
func (g *Guest) Interrupts() uint32 {
	v := g.r.Read32(RegInterruptStatus)
	if v != 0 {
		g.r.Write32(RegInterruptACK, v)
	}
	return v
}

// ReadConfig copies configuration space at off, a multiple of 4, to p, consistently.
func (g *Guest) ReadConfig(off uint32, p []byte) error {
	for range 16 {
		before := g.r.Read32(RegConfigGeneration)
		var word [4]byte
		for i := 0; i < len(p); i += 4 {
			binary.LittleEndian.PutUint32(word[:], g.r.Read32(Config+off+uint32(i)))
			copy(p[i:], word[:])
		}
		if g.r.Read32(RegConfigGeneration) == before {
			return nil
		}
	}
	return errors.New("virtio configuration keeps changing")
}
