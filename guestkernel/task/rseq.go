package task

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
)

// rseq is a thread's registration for restartable sequences (rseq(2)): user memory that says on which CPU the thread is, and where it is in a sequence of
// instructions that must not be preempted, moved or interrupted by a signal without being begun again.
//
// The number is right because user mode is entered on the CPU that was written and on no other (Context.SetAllowed): when the entry finds that it is elsewhere, the
// run loop writes the new number first.
type rseq struct {
	addr  uint64 // 0: not registered
	size  uint32
	sig   uint32
	cpu   int
	event bool // preempted, moved or about to handle a signal: a sequence has to be aborted
}

const (
	rseqSize       = 32 // struct rseq's first version
	rseqUsed       = 28 // up to mm_cid
	rseqUnregister = 1
	rseqNoCPU      = ^uint32(0) // RSEQ_CPU_ID_UNINITIALIZED
)

// Rseq is rseq(2). Errors: EINVAL, EBUSY, EPERM, EFAULT.
func (t *Task) Rseq(addr uint64, size uint32, flags int, sig uint32) error {
	r := &t.rseq
	if flags&rseqUnregister != 0 {
		switch {
		case flags != rseqUnregister, r.addr == 0, r.addr != addr, r.size != size:
			return unix.EINVAL
		case r.sig != sig:
			return unix.EPERM
		}
		if err := t.writeRseq(0, rseqNoCPU); err != nil {
			return err
		}
		t.rseq = rseq{}
		t.applyAffinity(t.affinity.Load())
		return nil
	}
	if flags != 0 {
		return unix.EINVAL
	}
	if r.addr != 0 {
		switch {
		case r.addr != addr || r.size != size:
			return unix.EINVAL
		case r.sig != sig:
			return unix.EPERM
		}
		return unix.EBUSY
	}
	if size < rseqSize || addr%rseqSize != 0 {
		return unix.EINVAL
	}
	if addr >= mm.UserTop || addr+uint64(size) > mm.UserTop {
		return unix.EFAULT
	}
	t.rseq = rseq{addr: addr, size: size, sig: sig, cpu: -1}
	t.ctx.SetAllowed(0) // the next entry writes the number
	return nil
}

// writeRseq stores the CPU's number: cpu_id_start, cpu_id, node_id (8 bytes further on) and mm_cid.
func (t *Task) writeRseq(start, cpu uint32) error {
	var b [8]byte
	binary.LittleEndian.PutUint32(b[0:], start)
	binary.LittleEndian.PutUint32(b[4:], cpu)
	if err := t.CopyOutUser(t.rseq.addr, b[:]); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(b[0:], 0)
	binary.LittleEndian.PutUint32(b[4:], start)
	return t.CopyOutUser(t.rseq.addr+20, b[:])
}

// moveRseq makes the present CPU the one that the thread believes to be on, if it may run there. The run loop calls it when user mode could not be entered.
func (t *Task) moveRseq() {
	r := &t.rseq
	cpu := t.k.Machine.CPU()
	if t.Affinity()>>cpu&1 == 0 {
		t.relocate()
		return
	}
	if cpu != r.cpu {
		r.event = true
		if t.writeRseq(uint32(cpu), uint32(cpu)) != nil {
			t.rseqFailed()
			return
		}
		r.cpu = cpu
	}
	t.ctx.SetAllowed(1 << cpu)
}

// rseqFailed ends the registration of a thread whose memory is not what it has to be (SIGSEGV).
func (t *Task) rseqFailed() {
	t.rseq = rseq{}
	t.applyAffinity(t.affinity.Load())
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	t.forceLocked(kernelInfo(int(unix.SIGSEGV)), false)
}

// fixRseq aborts the sequence that the thread is in (rseq_ip_fixup): before user mode after an event, and before a signal's handler.
func (t *Task) fixRseq() {
	r := &t.rseq
	r.event = false
	var b [8]byte
	if t.CopyInUser(r.addr+8, b[:]) != nil {
		t.rseqFailed()
		return
	}
	section := load64(b[:])
	if section == 0 {
		return
	}
	var raw [32]byte
	if section >= mm.UserTop || t.CopyInUser(section, raw[:]) != nil {
		t.rseqFailed()
		return
	}
	version, start, length, abort := binary.LittleEndian.Uint32(raw[:]), load64(raw[8:]), load64(raw[16:]), load64(raw[24:])
	var sig [4]byte
	switch {
	case version != 0, start >= mm.UserTop, start+length >= mm.UserTop, start+length < start, abort >= mm.UserTop, abort-start < length,
		t.CopyInUser(abort-4, sig[:]) != nil, binary.LittleEndian.Uint32(sig[:]) != r.sig:
		t.rseqFailed()
		return
	}
	if t.CopyOutUser(r.addr+8, make([]byte, 8)) != nil {
		t.rseqFailed()
		return
	}
	if regs := t.ctx.Regs(); regs.PC()-start < length {
		regs.SetPC(abort)
	}
}
