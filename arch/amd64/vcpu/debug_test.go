package vcpu

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"unsafe"

	"ringo/internal/kvm"
)

func TestDebugStructuresHaveKVMsSizes(t *testing.T) {
	if n := kvm.W[guestDebug](nrSetGuestDebug); n != 0x4048ae9b {
		t.Errorf("KVM_SET_GUEST_DEBUG = %#x", n)
	}
	if n := unsafe.Sizeof(vcpuEvents{}); n != 64 {
		t.Errorf("kvm_vcpu_events has %d bytes", n)
	}
}

func TestDR7(t *testing.T) {
	for _, c := range []struct {
		d    GuestDebug
		ctl  uint32
		dr7  uint64
		fail bool
	}{
		{GuestDebug{}, 0, 0, false},
		{GuestDebug{Step: true, BlockInterrupts: true}, 0x100003, 0, false},
		{GuestDebug{Breakpoints: []uint64{0x1000}}, 0x20001, 0x602, false},
		{GuestDebug{Watchpoints: []Watchpoint{{GVA: 0x1008, Len: 8, Write: true}}}, 0x20001, 0x90602, false},
		{GuestDebug{Breakpoints: []uint64{1}, Watchpoints: []Watchpoint{{GVA: 4, Len: 4, Read: true}}}, 0x20001, 0xf0060a, false},
		{GuestDebug{Watchpoints: []Watchpoint{{GVA: 1, Len: 2}}}, 0, 0, true},
		{GuestDebug{Watchpoints: []Watchpoint{{GVA: 0, Len: 3}}}, 0, 0, true},
		{GuestDebug{Breakpoints: make([]uint64, 5)}, 0, 0, true},
	} {
		g, err := c.d.encode()
		if (err != nil) != c.fail {
			t.Errorf("%+v: %v", c.d, err)
		}
		if err == nil && (g.Control != c.ctl || g.Registers[7] != c.dr7) {
			t.Errorf("%+v: control %#x, DR7 %#x, want %#x, %#x", c.d, g.Control, g.Registers[7], c.ctl, c.dr7)
		}
	}
	if _, err := (&GuestDebug{Breakpoints: make([]uint64, 5)}).encode(); !errors.Is(err, ErrDebugSlots) {
		t.Error(err)
	}
}

func TestSplitWatchCoversTheRangeExactly(t *testing.T) {
	for gva := uint64(0x1000); gva < 0x1010; gva++ {
		for n := 1; n < 40; n++ {
			at := gva
			for _, p := range SplitWatch(gva, n, 100) {
				if p.GVA != at || p.GVA%uint64(p.Len) != 0 {
					t.Fatalf("%#x, %d bytes: piece %+v at %#x", gva, n, p, at)
				}
				at += uint64(p.Len)
			}
			if at != gva+uint64(n) {
				t.Fatalf("%#x, %d bytes: ends at %#x", gva, n, at)
			}
		}
	}
	if SplitWatch(0x1001, 8, 3) != nil || len(SplitWatch(0x1001, 8, 4)) != 4 {
		t.Error("the limit on registers")
	}
}

func TestDecodeDebug(t *testing.T) {
	d := &GuestDebug{Breakpoints: []uint64{0x10}, Watchpoints: []Watchpoint{{GVA: 8, Len: 8}, {GVA: 16, Len: 8}}}
	exit := func(vector uint32, pc, dr6 uint64) *kvm.Exit {
		raw := make([]byte, 256)
		binary.LittleEndian.PutUint32(raw, vector)
		binary.LittleEndian.PutUint64(raw[8:], pc)
		binary.LittleEndian.PutUint64(raw[16:], dr6)
		return &kvm.Exit{Reason: kvm.ReasonDebug, Raw: raw}
	}
	if s := DecodeDebug(exit(1, 0x99, 0xffff0ff0|6), d); !slices.Equal(s.Watchpoints, []int{0, 1}) || s.Own() || s.PC != 0x99 {
		t.Errorf("%+v", s)
	}
	if s := DecodeDebug(exit(1, 0x10, 0xffff0ff1), d); !slices.Equal(s.Breakpoints, []int{0}) {
		t.Errorf("%+v", s)
	}
	if s := DecodeDebug(exit(1, 0x20, 0xffff4ff0), d); !s.Own() {
		t.Errorf("the guest's own step: %+v", s)
	}
	if s := DecodeDebug(exit(1, 0x20, 0xffff4ff0), &GuestDebug{Step: true}); !s.Step {
		t.Errorf("%+v", s)
	}
	if s := DecodeDebug(exit(3, 0x20, 0), d); !s.Software {
		t.Errorf("%+v", s)
	}
}
