package guest

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe" // for offsets

	"ringo/internal/bootinfo"
	"ringo/internal/debugwindow"
	"ringo/vmm/machine"
	"ringo/vmm/serial"
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
	text    func(frame uint32) // prints, before the vCPUs run
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
	if len(data) != 4 {
		return
	}
	word := binary.LittleEndian.Uint32(data)
	if offset == bootinfo.TextRegister && d.text != nil {
		d.text(word)
	}
	if offset != 0 {
		return
	}
	code, value := debugwindow.UnpackBell(word)
	d.marked(code, value)
	if h := d.handler.Load(); h != nil {
		(*h)(code, value)
	}
}

// printer is bootinfo.FlagText: it prints the text in a frame of mem, which is copied once. A frame that is no RAM prints nothing.
func printer(mem *machine.Memory, out *serial.Lines) func(frame uint32) {
	return func(frame uint32) {
		page := make([]byte, bootinfo.PageSize)
		if mem.Peek(uint64(frame)<<12, page) < len(page) {
			return
		}
		size, text := binary.LittleEndian.Uint32(page), page[unsafe.Offsetof(bootinfo.Text{}.Bytes):]
		out.Print(text[:min(uint64(size), uint64(len(text)))])
	}
}

var _ machine.MMIODevice = (*Doorbell)(nil)
