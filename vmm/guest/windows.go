package guest

import (
	"encoding/binary"
	"sync/atomic"

	"ringo/internal/debugwindow"
	"ringo/vmm/machine"
)

// Sizes of the windows in guest RAM, bytes.
const (
	debugWindow = 1 << 20
	// smallMachine has a debug window for fewer tasks: this many bytes of RAM or less.
	smallMachine = 64 << 20
	smallWindow  = 256 << 10
)

func debugSize(memory uint64) uint64 {
	if memory <= smallMachine {
		return smallWindow
	}
	return debugWindow
}

// Doorbell is the device that the kernel rings (internal/debugwindow). The vCPU goes on when the handler has
// returned.
type Doorbell struct {
	handler atomic.Pointer[func(code, slot uint32)]
	mark    func(frame uint32) // planted device, before the vCPUs run; nil: none
}

// Handle installs a handler, nil for none, and answers the one before. It runs on the vCPU's goroutine, possibly on several at once.
func (d *Doorbell) Handle(h func(code, slot uint32)) (before func(code, slot uint32)) {
	p := &h
	if h == nil {
		p = nil
	}
	if old := d.handler.Swap(p); old != nil {
		return *old
	}
	return nil
}

// Read implements machine.MMIODevice: there is nothing to read.
func (d *Doorbell) Read(_ uint64, data []byte) { clear(data) }

// Write implements machine.MMIODevice.
func (d *Doorbell) Write(offset uint64, data []byte) {
	if offset != 0 || len(data) != 4 {
		return
	}
	code, value := debugwindow.UnpackBell(binary.LittleEndian.Uint32(data))
	d.marked(code, value)
	if h := d.handler.Load(); h != nil {
		(*h)(code, value)
	}
}

var _ machine.MMIODevice = (*Doorbell)(nil)
