package vcpu

import (
	"encoding/binary"
	"slices"
	"testing"

	"ringo/internal/kvm"
)

func TestDebugStructureHasKVMsSize(t *testing.T) {
	if n := kvm.W[guestDebug](nrSetGuestDebug); n != 0x4208ae9b {
		t.Errorf("KVM_SET_GUEST_DEBUG = %#x", n)
	}
}

func TestWatchpointRegisters(t *testing.T) {
	for _, c := range []struct {
		w        Watchpoint
		wvr, wcr uint64
		fail     bool
	}{
		{Watchpoint{GVA: 0x1000, Len: 8, Write: true}, 0x1000, 0xff<<5 | 2<<3 | 7, false},
		{Watchpoint{GVA: 0x1003, Len: 2, Read: true}, 0x1000, 0x18<<5 | 1<<3 | 7, false},
		{Watchpoint{GVA: 0x2000, Len: 4096, Write: true, Read: true}, 0x2000, 12<<24 | 0xff<<5 | 3<<3 | 7, false},
		{Watchpoint{GVA: 0x1004, Len: 8, Write: true}, 0, 0, true},
		{Watchpoint{GVA: 0x1010, Len: 32, Write: true}, 0, 0, true},
		{Watchpoint{GVA: 0x1010, Len: 4}, 0, 0, true},
	} {
		g, err := (&GuestDebug{Watchpoints: []Watchpoint{c.w}}).encode()
		if (err != nil) != c.fail {
			t.Errorf("%+v: %v", c.w, err)
		}
		if err == nil && (g.WVR[0] != c.wvr || g.WCR[0] != c.wcr || g.Control != 0x20001) {
			t.Errorf("%+v: WVR %#x WCR %#x, want %#x %#x", c.w, g.WVR[0], g.WCR[0], c.wvr, c.wcr)
		}
	}
}

func TestSplitWatchCoversTheRangeExactly(t *testing.T) {
	for gva := uint64(0x1000); gva < 0x1010; gva++ {
		for n := 1; n < 200; n++ {
			at := gva
			for _, p := range SplitWatch(gva, n, 100) {
				p.Write = true
				if _, err := (&GuestDebug{Watchpoints: []Watchpoint{p}}).encode(); err != nil || p.GVA != at {
					t.Fatalf("%#x, %d bytes: piece %+v at %#x: %v", gva, n, p, at, err)
				}
				at += uint64(p.Len)
			}
			if at != gva+uint64(n) {
				t.Fatalf("%#x, %d bytes: ends at %#x", gva, n, at)
			}
		}
	}
	if len(SplitWatch(0x2000, 4096, 1)) != 1 || SplitWatch(0x1001, 16, 2) != nil {
		t.Error("the number of registers")
	}
}

func TestDecodeDebug(t *testing.T) {
	exit := func(class uint32, far uint64) *kvm.Exit {
		raw := make([]byte, 256)
		binary.LittleEndian.PutUint32(raw, class<<26)
		binary.LittleEndian.PutUint64(raw[8:], far)
		return &kvm.Exit{Reason: kvm.ReasonDebug, Raw: raw}
	}
	d := &GuestDebug{Watchpoints: []Watchpoint{{GVA: 0x1000, Len: 8}, {GVA: 0x1010, Len: 8}}}
	// A 16-byte store at 0x1008 hits the second only; FAR is its start.
	if s := DecodeDebug(exit(0x35, 0x100c), d); !slices.Equal(s.Watchpoints, []int{1}) {
		t.Errorf("%+v", s)
	}
	if s := DecodeDebug(exit(0x34, 0x1007), d); !slices.Equal(s.Watchpoints, []int{0}) {
		t.Errorf("%+v", s)
	}
	if s := DecodeDebug(exit(0x32, 0), d); !s.Own() {
		t.Errorf("the guest's own step: %+v", s)
	}
	if s := DecodeDebug(exit(0x3c, 0), d); !s.Software {
		t.Errorf("%+v", s)
	}
}

func TestTakeException(t *testing.T) {
	r := &Registers{PSTATE: 0x6000_0000, ProgramCounter: 0x400, VBAR: 0x8000}
	r.takeException(classBRK<<26|1<<25|7, 0)
	if r.ProgramCounter != 0x8400 || r.ELR != 0x400 || r.SPSR != 0x6000_0000 || r.ESR>>26 != classBRK || r.PSTATE != 0x6000_03c5 {
		t.Errorf("from EL0: %v", r)
	}
	r = &Registers{PSTATE: 4, ProgramCounter: 0x400, VBAR: 0x8000}
	if r.takeException(classStep<<26, 0); r.ProgramCounter != 0x8000 || r.ESR>>26 != 0x33 {
		t.Errorf("from EL1t: %v", r)
	}
}

func TestVectorsAreRecognised(t *testing.T) {
	for pc, want := range map[uint64]bool{0x8000: true, 0x8200: true, 0x8780: true, 0x8800: false, 0x8004: false, 0x7f80: false} {
		if got := (&Registers{ProgramCounter: pc, VBAR: 0x8000}).AtVector(); got != want {
			t.Errorf("%#x: %t", pc, got)
		}
	}
}
