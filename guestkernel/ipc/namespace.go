// Package ipc is System V IPC (sysvipc(7)) and POSIX message queues (mq_overview(7)).
//
// Everything that an IPC namespace holds is in one [Namespace], which tasks hold and which is destroyed with
// its last holder: queues, semaphore sets and memory segments by id, message queues by name.
//
// Locks: each kind of object has one lock in its namespace (msg.mu, sem.mu, shm.mu; a POSIX queue its own). They
// are leaves but for wait queues, and never held while user memory is copied, with one exception that goes the other way:
// the lock of an address space may be held when shm.mu is taken (a segment counts its mappings).
//
// Times are seconds of the epoch, sizes bytes, as the structures of the system calls have them.
package ipc

import (
	"sync"
	"sync/atomic"
	"time"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/vfs"
)

// Limits are the numbers of /proc/sys/kernel. The fields are read and changed with Namespace.Limits and SetLimits.
type Limits struct {
	MsgMax, MsgMnb, MsgMni         uint64 // bytes of a message, bytes of a queue, queues
	SemMsl, SemMns, SemOpm, SemMni uint64 // semaphores of a set, of all sets, operations of a call, sets
	ShmMax, ShmAll, ShmMni         uint64 // bytes of a segment, pages of all segments, segments
}

// Fixed limits (include/uapi/linux/sem.h, shm.h).
const (
	semMax  = 32767 // SEMVMX: the largest value of a semaphore
	semAdj  = semMax
	shmMin  = 1
	shmMost = ^uint64(0) - 1<<24
)

func defaultLimits() Limits {
	return Limits{
		MsgMax: 8192, MsgMnb: 16384, MsgMni: 32000,
		SemMsl: 32000, SemMns: 1024000000, SemOpm: 500, SemMni: 32000,
		ShmMax: shmMost, ShmAll: shmMost, ShmMni: 4096,
	}
}

// Namespace is an IPC namespace (ipc_namespaces(7)).
type Namespace struct {
	memory *mm.Memory
	holds  atomic.Int64
	limits struct {
		sync.Mutex
		Limits
	}
	msg struct {
		sync.Mutex
		ids[*msgQueue]
	}
	sem struct {
		sync.Mutex
		ids[*semSet]
		total uint64 // semaphores of all sets
	}
	shm struct {
		sync.Mutex
		ids[*segment]
		pages uint64 // of all segments
	}
	mq queueFS
}

// NewNamespace answers an empty namespace with Linux's default limits and one holder; segments take their frames from memory.
func NewNamespace(memory *mm.Memory) *Namespace {
	n := &Namespace{memory: memory}
	n.holds.Store(1)
	n.limits.Limits = defaultLimits()
	n.mq.init(n)
	return n
}

// Hold adds a holder: a task that is forked, a file that names the namespace.
func (n *Namespace) Hold() *Namespace {
	n.holds.Add(1)
	return n
}

// Release drops a holder; the last one destroys what is in the namespace. Segments that are still attached live on until they are detached.
func (n *Namespace) Release() {
	if n.holds.Add(-1) != 0 {
		return
	}
	n.msg.Lock()
	for _, q := range n.msg.objects {
		n.removeQueueLocked(q)
	}
	n.msg.Unlock()
	n.sem.Lock()
	for _, s := range n.sem.objects {
		n.removeSetLocked(s)
	}
	n.sem.Unlock()
	n.shm.Lock()
	var unused []*segment
	for _, s := range n.shm.objects {
		if n.doomLocked(s) {
			unused = append(unused, s)
		}
	}
	n.shm.Unlock()
	for _, s := range unused {
		s.free()
	}
}

// Limits answers the limits as they are.
func (n *Namespace) Limits() Limits {
	n.limits.Lock()
	defer n.limits.Unlock()
	return n.limits.Limits
}

// SetLimits changes them with set: what exists already may be beyond.
func (n *Namespace) SetLimits(set func(*Limits)) {
	n.limits.Lock()
	defer n.limits.Unlock()
	set(&n.limits.Limits)
}

func now() int64 { return time.Now().Unix() }

// Caller is the task on whose behalf a call is made.
type Caller = vfs.Caller
