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

func sample(r *rand.Rand) (Regs, *Delivery) {
	var regs Regs
	for i := range regs.X {
		regs.X[i] = r.Uint64()
	}
	regs.SP, regs.IP, regs.PState = 0x7ffd00000000, 0x401000, 0x60000000
	d := &Delivery{Signal: 10, Handler: 0x402000, Restorer: 0x403000, Mask: r.Uint64(), Top: regs.SP - 5, Alt: Stack{SP: 0x5000, Flags: 2, Size: 0x8000}}
	d.Vector = make([]byte, VectorSize)
	for i := range d.Vector {
		d.Vector[i] = byte(r.Uint32())
	}
	return regs, d
}

func TestSignalFrameComesBack(t *testing.T) {
	regs, d := sample(rand.New(rand.NewPCG(1, 2)))
	frame, addr, out, err := SignalFrame(&regs, d)
	if err != nil {
		t.Fatal(err)
	}
	if addr%16 != 0 || addr+uint64(len(frame)) > d.Top || uint64(len(frame)) > FrameSize(VectorSize) {
		t.Errorf("frame at %#x, %d bytes, top %#x", addr, len(frame), d.Top)
	}
	if out.IP != d.Handler || out.SP != addr || out.X[0] != 10 || out.X[1] != addr || out.X[2] != addr+frameUC || out.X[30] != d.Restorer {
		t.Errorf("handler registers %+v", out)
	}
	if fp := out.X[29]; fp%16 != 0 || binary.LittleEndian.Uint64(frame[fp-addr+8:]) != regs.X[30] {
		t.Errorf("frame record at %#x does not lead to the interrupted function", fp)
	}
	saved, err := ReadSignalFrame(&out, VectorSize, nil, memory{addr, frame}.read)
	if err != nil {
		t.Fatal(err)
	}
	if saved.Regs != regs || saved.Mask != d.Mask || saved.Alt != d.Alt || string(saved.Vector) != string(d.Vector) {
		t.Errorf("came back as %+v, was %+v", saved, regs)
	}
}

func TestForgedFrames(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name  string
		spoil func(frame []byte)
		want  error
	}{
		{"kernel mode", func(f []byte) { le.PutUint64(f[frameContext+272:], 0x3c5) }, nil},
		{"no vector state", func(f []byte) { le.PutUint32(f[frameRecords:], 0) }, ErrFrame},
		{"record of no size", func(f []byte) { le.PutUint32(f[frameRecords+4:], 0) }, ErrFrame},
		{"record too large", func(f []byte) { le.PutUint32(f[frameRecords+4:], 1<<20) }, ErrFrame},
		{"vector state twice", func(f []byte) { copy(f[frameRecords+fpsimdSize:], f[frameRecords:frameRecords+fpsimdSize]) }, ErrFrame},
		{"odd size", func(f []byte) { le.PutUint32(f[frameRecords+4:], fpsimdSize+1) }, ErrFrame},
		{"unknown record", func(f []byte) {
			le.PutUint32(f[frameRecords+fpsimdSize:], 0x45585401)
			le.PutUint32(f[frameRecords+fpsimdSize+4:], 32)
		}, nil},
	} {
		regs, d := sample(rand.New(rand.NewPCG(1, 2)))
		frame, addr, out, _ := SignalFrame(&regs, d)
		c.spoil(frame)
		s, err := ReadSignalFrame(&out, VectorSize, nil, memory{addr, frame}.read)
		if err != c.want {
			t.Errorf("%s: err = %v, want %v", c.name, err, c.want)
		}
		if err == nil && s.Regs.PState&0x3ff != 0 {
			t.Errorf("%s: pstate %#x is not plain user mode", c.name, s.Regs.PState)
		}
	}
	regs, d := sample(rand.New(rand.NewPCG(1, 2)))
	frame, addr, out, _ := SignalFrame(&regs, d)
	out.SP += 8
	if _, err := ReadSignalFrame(&out, VectorSize, nil, memory{addr, frame}.read); err != ErrFrame {
		t.Errorf("unaligned stack: %v", err)
	}
}

func TestActionWithoutWayBack(t *testing.T) {
	regs, d := sample(rand.New(rand.NewPCG(1, 2)))
	d.Restorer = 0
	if _, _, _, err := SignalFrame(&regs, d); err != ErrNoRestorer {
		t.Errorf("err = %v", err)
	}
}

// What an earlier frame left in the room shows neither in the next one nor in what is read back.
func TestRoomIsUsedAgain(t *testing.T) {
	regs, d := sample(rand.New(rand.NewPCG(1, 2)))
	want, addr, out, err := SignalFrame(&regs, d)
	if err != nil {
		t.Fatal(err)
	}
	d.Room = bytes.Repeat([]byte{0xee}, int(FrameSize(VectorSize)))
	room := d.Room
	got, _, _, err := SignalFrame(&regs, d)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the frame made in a room differs, %v", err)
	}
	if &got[0] != &room[0] {
		t.Error("the room was not used")
	}
	out.SP += uint64(0)
	saved, err := ReadSignalFrame(&out, VectorSize, bytes.Repeat([]byte{0xee}, 4*len(want)), memory{addr, want}.read)
	if err != nil || saved.Regs != regs || !bytes.Equal(saved.Vector, d.Vector) {
		t.Errorf("%+v, %v", saved, err)
	}
	if n := testing.AllocsPerRun(10, func() { d.Room = room; SignalFrame(&regs, d) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func FuzzReadSignalFrame(f *testing.F) {
	regs, d := sample(rand.New(rand.NewPCG(1, 2)))
	frame, _, _, _ := SignalFrame(&regs, d)
	f.Add(frame)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Regs
		s, err := ReadSignalFrame(&r, VectorSize, nil, memory{0, b}.read)
		if err == nil && (s.Regs.PState&0x3ff != 0 || len(s.Vector) != VectorSize) {
			t.Errorf("%+v", s)
		}
	})
}
