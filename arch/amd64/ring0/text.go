//go:build amd64

package ring0

import (
	"unsafe"

	"ringo/internal/bootinfo"
)

// textArea holds the page through which text goes to the monitor (bootinfo.FlagText), textFrame is its number, 0: there is none.
var (
	textArea  [2 * bootinfo.PageSize]byte
	textFrame uint32
)

// textPage is the page in textArea. It lies there whole, as the area has two pages' bytes.
func textPage() *bootinfo.Text {
	at := (uint64(uintptr(unsafe.Pointer(&textArea))) + bootinfo.PageSize - 1) &^ (bootinfo.PageSize - 1)
	return (*bootinfo.Text)(pointer(at))
}

// initText finds out whether the monitor takes text. The kernel's image is contiguous in guest-physical memory.
func initText(info *bootinfo.Info) {
	if info.Flags&bootinfo.FlagText == 0 || info.Doorbell == 0 {
		return
	}
	gpa := uint64(uintptr(unsafe.Pointer(textPage()))) - info.KernelVirt + info.KernelPhys
	if frame := gpa >> 12; frame == uint64(uint32(frame)) {
		textFrame = uint32(frame)
	}
}

// printText prints by the page.
func printText(p uintptr, n int) {
	page := textPage()
	for n > 0 {
		part := min(n, len(page.Bytes))
		for i := range part {
			page.Bytes[i] = *(*byte)(pointer(uint64(p) + uint64(i)))
		}
		page.Size = uint32(part)
		tellText()
		p, n = p+uintptr(part), n-part
	}
}
