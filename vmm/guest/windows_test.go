package guest

import (
	"encoding/binary"
	"strings"
	"testing"

	"ringo/internal/bootinfo"
	"ringo/internal/debugwindow"
	"ringo/virtio/queue"
	"ringo/vmm/machine"
	"ringo/vmm/serial"
)

// What the guest says about a text is not to be trusted: its size, its place, the width of the store.
func TestDoorbellPrintsText(t *testing.T) {
	mem, err := machine.NewMemory([]machine.Range{{Base: 0, Size: 0x4000}})
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const most = bootinfo.PageSize - 4
	for _, c := range []struct {
		name   string
		frame  uint32
		size   uint32
		offset uint64
		width  int
		want   int
	}{
		{"a line", 2, 6, bootinfo.TextRegister, 4, 6}, {"nothing", 2, 0, bootinfo.TextRegister, 4, 0}, {"a full page", 3, most, bootinfo.TextRegister, 4, most},
		{"more than there is", 2, most + 1, bootinfo.TextRegister, 4, most}, {"much more", 2, ^uint32(0), bootinfo.TextRegister, 4, most},
		{"the first frame", 0, 3, bootinfo.TextRegister, 4, 3}, {"no RAM", 4, 6, bootinfo.TextRegister, 4, 0}, {"the last frame", ^uint32(0), 6, bootinfo.TextRegister, 4, 0},
		{"a byte", 2, 6, bootinfo.TextRegister, 1, 0}, {"the bell", 2, 6, 0, 4, 0}, {"elsewhere", 2, 6, bootinfo.TextRegister + 4, 4, 0},
	} {
		var page [bootinfo.PageSize]byte
		text := strings.Repeat("words\n", most/6+1)[:most]
		binary.LittleEndian.PutUint32(page[:], c.size)
		copy(page[4:], text)
		if c.frame < 4 {
			if err := mem.WriteAt(uint64(c.frame)<<12, page[:], queue.NoQueue("test")); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		lines := serial.NewLines(&out)
		rung := 0
		d := Doorbell{text: printer(mem, lines)}
		d.Handle(func(code, slot uint32) { rung++ })
		var data [8]byte
		binary.LittleEndian.PutUint32(data[:], c.frame)
		d.Write(c.offset, data[:c.width])
		lines.Flush()
		if out.String() != text[:c.want] || (rung == 1) != (c.offset == 0 && c.width == 4) {
			t.Errorf("%s: %d bytes printed, want %d; the bell was rung %d times", c.name, out.Len(), c.want, rung)
		}
	}
	new(Doorbell).Write(bootinfo.TextRegister, []byte{1, 0, 0, 0})
	new(Doorbell).Write(0, binary.LittleEndian.AppendUint32(nil, debugwindow.Bell(debugwindow.BellMark, 1)))
}
