package task

import "encoding/binary"

// Bits of a robust futex word, and the most entries of a list that are looked at (ROBUST_LIST_LIMIT).
const (
	futexWaiters   = 0x80000000
	futexOwnerDied = 0x40000000
	futexTIDMask   = 0x3fffffff
	robustLimit    = 2048
)

// exitRobustList marks the futexes that the task holds as left by a dead owner (exit_robust_list). The list is user memory: it
// may lie, loop or end in nowhere.
func (t *Task) exitRobustList() {
	head := t.robustList
	if head == 0 {
		return
	}
	t.robustList = 0
	var raw [24]byte
	if t.CopyInUser(head, raw[:]) != nil {
		return
	}
	next, offset, pendingEntry := load64(raw[0:]), load64(raw[8:]), load64(raw[16:])
	for range robustLimit {
		entry := next &^ 1
		if entry == head {
			break
		}
		var b [8]byte
		bad := t.CopyInUser(entry, b[:]) != nil
		if entry != pendingEntry&^1 && !t.ownerDied(entry+offset, next&1 != 0) {
			return
		}
		if bad {
			return
		}
		next = binary.LittleEndian.Uint64(b[:])
	}
	if pendingEntry != 0 {
		t.ownerDied(pendingEntry&^1+offset, pendingEntry&1 != 0)
	}
}

// ownerDied marks one futex. Who waits for a lock with priority inheritance is not woken here but given the lock, by exitLocks.
func (t *Task) ownerDied(addr uint64, inherits bool) bool {
	old, err := t.space.Update32(addr, func(v uint32) uint32 {
		if v&futexTIDMask == uint32(t.own) {
			return v&futexWaiters | futexOwnerDied
		}
		return v
	})
	if err != nil {
		return false
	}
	if old&futexTIDMask == uint32(t.own) && old&futexWaiters != 0 && !inherits {
		t.FutexWake(addr, false, 1, ^uint32(0))
		t.FutexWake(addr, true, 1, ^uint32(0))
	}
	return true
}
