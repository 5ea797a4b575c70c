package guest

import (
	"bytes"
	"strings"

	"ringo/internal/debugwindow"
	"ringo/virtio/queue"
)

// Planted mistakes of devices (internal/plants): inject=dma-read and inject=dma-ring on the kernel command line. The kernel says
// with a mark in which frame somebody sleeps; the device writes to its last bytes.

// plantedSize is how much a planted read writes, at the end of the frame.
const plantedSize = 48

// plantedDevice answers what to do at a mark, nil for nothing.
func (g *guest) plantedDevice() func(frame uint32) {
	for _, w := range strings.Fields(g.o.CommandLine) {
		name, ok := strings.CutPrefix(w, "inject=")
		if !ok {
			continue
		}
		var src queue.Source
		var data []byte
		switch strings.TrimSuffix(name, "-control") {
		case "dma-read": // the descriptor leads into a stack
			src, data = queue.Source{Device: "virtio-console", Queue: 4, Head: 12}, bytes.Repeat([]byte{0xd5}, plantedSize)
		case "dma-ring": // the device's ring index has run past the end
			src, data = queue.Source{Device: "virtio-console used ring", Queue: 4, Head: -1}, []byte{12, 0, 0, 0, plantedSize, 0, 0, 0}
		default:
			continue
		}
		return func(frame uint32) {
			at := (uint64(frame)+1)<<12 - plantedSize
			// A frame that is no RAM is the plant's own mistake, and shows as no report.
			_ = g.m.Memory().WriteAt(at, data, src)
		}
	}
	return nil
}

// marked passes marks to the planted device, and everything to the handler.
func (d *Doorbell) marked(code, value uint32) {
	if code == debugwindow.BellMark && d.mark != nil {
		d.mark(value)
	}
}
