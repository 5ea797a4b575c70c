package abi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

// memory is user memory with one signal frame.
type memory struct {
	at    uint64
	bytes []byte
}

var errFault = errors.New("fault")

func (m memory) read(addr uint64, b []byte) error {
	if addr < m.at || addr-m.at > uint64(len(m.bytes)) || uint64(len(b)) > uint64(len(m.bytes))-(addr-m.at) {
		return errFault
	}
	copy(b, m.bytes[addr-m.at:])
	return nil
}

func sample(r *rand.Rand, vector int) (Regs, *Delivery) {
	regs := Regs{
		R15: r.Uint64(), R14: r.Uint64(), R13: r.Uint64(), R12: r.Uint64(), BP: r.Uint64(), BX: r.Uint64(), R11: r.Uint64(), R10: r.Uint64(),
		R9: r.Uint64(), R8: r.Uint64(), AX: r.Uint64(), CX: r.Uint64(), DX: r.Uint64(), SI: r.Uint64(), DI: r.Uint64(), IP: 0x401000,
		CS: userCS, Flags: 0x246, SP: 0x7ffd00000000 + r.Uint64N(64), SS: userDS, OrigAX: ^uint64(0), FSBase: 0x1234000,
	}
	d := &Delivery{Signal: 10, Handler: 0x402000, Flags: saRestorer, Restorer: 0x403000, Mask: r.Uint64(), Top: regs.SP, Alt: Stack{SP: 0x5000, Flags: 2, Size: 0x8000}}
	d.Vector = make([]byte, vector)
	for i := range d.Vector {
		d.Vector[i] = byte(r.Uint32())
	}
	if vector >= legacySize+xsaveHeader {
		clear(d.Vector[legacySize : legacySize+xsaveHeader])
		binary.LittleEndian.PutUint64(d.Vector[legacySize:], 7)
	}
	if vector >= legacySize {
		clear(d.Vector[swReserved:legacySize])
	}
	return regs, d
}

func TestSignalFrameComesBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{legacySize + xsaveHeader, 832, 2696} {
		regs, d := sample(r, size)
		frame, addr, out, err := SignalFrame(&regs, d)
		if err != nil {
			t.Fatal(err)
		}
		if addr%16 != 8 || addr+uint64(len(frame)) > regs.SP-redZone {
			t.Errorf("frame at %#x, %d bytes, stack at %#x", addr, len(frame), regs.SP)
		}
		if uint64(len(frame))+redZone > FrameSize(size) {
			t.Errorf("frame of %d bytes, FrameSize says %d", len(frame), FrameSize(size))
		}
		if out.IP != d.Handler || out.DI != 10 || out.SI != addr+frameInfo || out.DX != addr+frameUC || out.SP != addr || out.FSBase != regs.FSBase {
			t.Errorf("handler registers %+v", out)
		}
		if fp := binary.LittleEndian.Uint64(frame[frameRegs+8*23:]); fp%64 != 0 {
			t.Errorf("vector state at %#x", fp)
		}
		out.SP += 8 // the handler's RET
		saved, err := ReadSignalFrame(&out, size, nil, memory{addr, frame}.read)
		if err != nil {
			t.Fatal(err)
		}
		if saved.Regs != regs || saved.Mask != d.Mask || saved.Alt != d.Alt {
			t.Errorf("came back as %+v, was %+v", saved, regs)
		}
		if string(saved.Vector) != string(d.Vector) {
			t.Errorf("vector state of %d bytes differs", size)
		}
	}
}

func TestForgedFrameStaysUser(t *testing.T) {
	regs, d := sample(rand.New(rand.NewPCG(1, 2)), 832)
	frame, addr, out, _ := SignalFrame(&regs, d)
	out.SP += 8
	le := binary.LittleEndian
	le.PutUint64(frame[frameRegs+8*17:], ^uint64(0))            // flags
	le.PutUint64(frame[frameRegs+8*18:], 0x0008_0000_0000_0008) // selectors of the kernel
	le.PutUint64(frame[frameRegs+8*23:], 0xffff_8000_0000_0000) // vector state in the kernel
	if _, err := ReadSignalFrame(&out, 832, nil, memory{addr, frame}.read); err != errFault {
		t.Errorf("vector state out of reach: %v", err)
	}
	le.PutUint64(frame[frameRegs+8*23:], 0)
	s, err := ReadSignalFrame(&out, 832, nil, memory{addr, frame}.read)
	if err != nil {
		t.Fatal(err)
	}
	const iopl, nt, vm = 3 << 12, 1 << 14, 1 << 17
	if s.Regs.Flags&(iopl|nt|vm) != 0 || s.Regs.Flags&flagIF == 0 || s.Regs.CS != userCS || s.Regs.SS != userDS {
		t.Errorf("flags %#x cs %#x ss %#x", s.Regs.Flags, s.Regs.CS, s.Regs.SS)
	}
	if s.Vector != nil {
		t.Error("a null pointer is not the initial state")
	}
}

func TestActionWithoutRestorer(t *testing.T) {
	regs, d := sample(rand.New(rand.NewPCG(1, 2)), 832)
	d.Flags = 0
	if _, _, _, err := SignalFrame(&regs, d); err != ErrNoRestorer {
		t.Errorf("err = %v", err)
	}
}

// What an earlier frame left in the room shows neither in the next one nor in what is read back.
func TestRoomIsUsedAgain(t *testing.T) {
	regs, d := sample(rand.New(rand.NewPCG(1, 2)), 832)
	want, addr, out, err := SignalFrame(&regs, d)
	if err != nil {
		t.Fatal(err)
	}
	d.Room = bytes.Repeat([]byte{0xee}, int(FrameSize(832)))
	room := d.Room
	got, _, _, err := SignalFrame(&regs, d)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the frame made in a room differs, %v", err)
	}
	if &got[0] != &room[0] {
		t.Error("the room was not used")
	}
	out.SP += uint64(8)
	saved, err := ReadSignalFrame(&out, 832, bytes.Repeat([]byte{0xee}, 4*len(want)), memory{addr, want}.read)
	if err != nil || saved.Regs != regs || !bytes.Equal(saved.Vector, d.Vector) {
		t.Errorf("%+v, %v", saved, err)
	}
	if n := testing.AllocsPerRun(10, func() { d.Room = room; SignalFrame(&regs, d) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func FuzzReadSignalFrame(f *testing.F) {
	regs, d := sample(rand.New(rand.NewPCG(1, 2)), 832)
	frame, _, _, _ := SignalFrame(&regs, d)
	f.Add(frame, uint64(8))
	f.Fuzz(func(t *testing.T, b []byte, off uint64) {
		r := Regs{SP: off}
		s, err := ReadSignalFrame(&r, 832, nil, memory{0, b}.read)
		if err == nil && (s.Regs.CS != userCS || s.Regs.Flags&flagIF == 0 || s.Vector != nil && len(s.Vector) != 832) {
			t.Errorf("%+v", s)
		}
	})
}
