package ebpf

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Stack slots of the programs, from the frame pointer R10.
const (
	slotTID    = -8  // u32, then u32: struct bpf_pidns_info, of which pid is the thread's and tgid the process'
	slotTGID   = -4  //
	slotKey    = -16 // u64: key of the map at hand
	slotZero   = -32 // two u64: an empty value
	slotStart  = -48 // u64 time, u64 key of exits
	slotReason = -56 // u32
)

// only ends the program for other processes than the monitor's. R6 becomes the context.
func (s *Sampler) only() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadImm(asm.R1, int64(s.nsDev), asm.DWord),
		asm.LoadImm(asm.R2, int64(s.nsIno), asm.DWord),
		asm.Mov.Reg(asm.R3, asm.R10),
		asm.Add.Imm(asm.R3, slotTID),
		asm.Mov.Imm(asm.R4, 8),
		asm.FnGetNsCurrentPidTgid.Call(),
		asm.JNE.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R7, asm.R10, slotTGID, asm.Word),
		asm.JNE.Imm32(asm.R7, int32(s.pid), "out"),
	}
}

// load makes R1 the map. There is none when only the instructions are looked at.
func load(m *ebpf.Map) asm.Instruction {
	if m == nil {
		return asm.LoadMapPtr(asm.R1, 0)
	}
	return asm.LoadMapPtr(asm.R1, m.FD())
}

// entry leaves in R0 the address of the value under the key at slotKey, which is made when it is not there; the program ends
// when the map is full. label is unique in the program. size is the value's, 8 or 16 bytes.
func entry(m *ebpf.Map, label string) asm.Instructions {
	return asm.Instructions{
		load(m),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, slotKey),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, label),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.R10, slotZero, asm.R1, asm.DWord),
		asm.StoreMem(asm.R10, slotZero+8, asm.R1, asm.DWord),
		load(m),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, slotKey),
		asm.Mov.Reg(asm.R3, asm.R10),
		asm.Add.Imm(asm.R3, slotZero),
		asm.Mov.Imm(asm.R4, 1), // BPF_NOEXIST: another CPU may be faster
		asm.FnMapUpdateElem.Call(),
		load(m),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, slotKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "lost"),
		asm.Mov.Reg(asm.R0, asm.R0).WithSymbol(label),
	}
}

// end counts what found no room, and returns.
func (s *Sampler) end() asm.Instructions {
	return asm.Instructions{
		asm.Ja.Label("out"),
		asm.StoreImm(asm.R10, slotKey, 0, asm.Word).WithSymbol("lost"),
		load(s.lost),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, slotKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	}
}

// onExit counts an exit by its reason and notes when it was.
func (s *Sampler) onExit() asm.Instructions {
	p := s.only()
	p = append(p, asm.LoadMem(asm.R8, asm.R6, int16(s.reason.offset), sizeOf(s.reason)))
	if s.detail.size != 0 {
		p = append(p,
			asm.LoadMem(asm.R9, asm.R6, int16(s.detail.offset), sizeOf(s.detail)),
			asm.LSh.Imm(asm.R9, detailShift),
			asm.Or.Reg(asm.R8, asm.R9),
		)
	}
	p = append(p, asm.StoreMem(asm.R10, slotKey, asm.R8, asm.DWord))
	p = append(p, entry(s.exits, "count")...)
	p = append(p,
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.R10, slotStart, asm.R0, asm.DWord),
		asm.StoreMem(asm.R10, slotStart+8, asm.R8, asm.DWord),
		load(s.starts),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, slotTID),
		asm.Mov.Reg(asm.R3, asm.R10),
		asm.Add.Imm(asm.R3, slotStart),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
	)
	return append(p, s.end()...)
}

// onEntry adds the time since the exit to its reason, and counts it by its binary logarithm.
func (s *Sampler) onEntry() asm.Instructions {
	p := s.only()
	p = append(p,
		load(s.starts),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, slotTID),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R7, asm.R0, 0, asm.DWord),
		asm.LoadMem(asm.R8, asm.R0, 8, asm.DWord),
		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(asm.R9, asm.R0),
		asm.Sub.Reg(asm.R9, asm.R7), // R9: nanoseconds
		asm.StoreMem(asm.R10, slotKey, asm.R8, asm.DWord),
		load(s.exits),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, slotKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Add.Imm(asm.R0, 8),
		asm.StoreXAdd(asm.R0, asm.R9, asm.DWord),
		// R7: the binary logarithm of R9.
		asm.Mov.Imm(asm.R7, 0),
	)
	for _, bits := range []int32{32, 16, 8, 4, 2, 1} {
		label := "below" + string(rune('a'+bits%26))
		p = append(p,
			asm.Mov.Reg(asm.R1, asm.R9),
			asm.RSh.Imm(asm.R1, bits),
			asm.JEq.Imm(asm.R1, 0, label),
			asm.Mov.Reg(asm.R9, asm.R1),
			asm.Add.Imm(asm.R7, bits),
			asm.Mov.Reg(asm.R9, asm.R9).WithSymbol(label),
		)
	}
	p = append(p,
		asm.LSh.Imm(asm.R8, bucketBits),
		asm.Or.Reg(asm.R8, asm.R7),
		asm.StoreMem(asm.R10, slotKey, asm.R8, asm.DWord),
	)
	p = append(p, entry(s.times, "bucket")...)
	p = append(p,
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		load(s.starts),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, slotTID),
		asm.FnMapDeleteElem.Call(),
	)
	return append(p, s.end()...)
}

// onFault counts a guest page fault by its frame.
func (s *Sampler) onFault(address field) asm.Instructions {
	p := s.only()
	p = append(p,
		asm.LoadMem(asm.R8, asm.R6, int16(address.offset), sizeOf(address)),
		asm.RSh.Imm(asm.R8, 12),
		asm.StoreMem(asm.R10, slotKey, asm.R8, asm.DWord),
	)
	p = append(p, entry(s.frames, "frame")...)
	p = append(p, asm.Mov.Imm(asm.R1, 1), asm.StoreXAdd(asm.R0, asm.R1, asm.DWord))
	return append(p, s.end()...)
}

func sizeOf(f field) asm.Size {
	return map[int]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}[f.size]
}
