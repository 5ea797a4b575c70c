package nucleus

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/internal/bootinfo"
)

// Threads are the runtime's Ms. They live in a fixed array and name each other by index.
const (
	maxThreads = 1024
	none       = int32(-1)
	slice      = 5_000_000 // ns that a thread runs while others wait
)

// State of a thread.
const (
	threadFree = iota
	threadRunnable
	threadRunning
	threadSleeping
)

// What a sleeping thread waits for.
const (
	waitTime  = iota // only its deadline
	waitFutex        // key = address
	waitEpoll        // key = epoll descriptor
)

// thread is one runtime thread. The nucleus lock guards all of it; ctx belongs to the CPU
// while the thread is running.
type thread struct {
	ctx        context
	state      uint8
	wait       uint8
	cpu        int32 // where it runs
	next, prev int32 // run queue, futex bucket
	key        uint64
	deadline   int64 // Nanotime at which a sleep ends
	timer      int32 // index in the timer heap, -1: none

	pending, blocked uint64 // signals, bit n-1
	altBase, altSize uint64 // sigaltstack

	events    uint64 // epoll_pwait's buffer and size
	maxEvents int32

	switches uint64
}

// list is a queue of threads through next and prev.
type list struct{ head, tail int32 }

// scheduler is the run queue, the sleepers and the timers: pure bookkeeping, so that it can
// be tested on any machine. What has to be done to the hardware (CPUs to kick) is collected
// in kick and done by leave.
type scheduler struct {
	threads [maxThreads]thread
	high    int32 // threads [0, high) have been used
	queue   list
	queued  int
	handed  [bootinfo.MaxCPUs]list // threads that shall run on this CPU and no other
	futexes [futexBuckets]list
	timers  [maxThreads]int32 // heap of threads by deadline
	ntimers int32
	idle    uint64 // CPUs that halt, or are about to
	polling uint64 // those of them that look at the run queue by themselves
	kick    uint64 // CPUs to interrupt when the lock is released
}

const futexBuckets = 256

func (s *scheduler) init() {
	s.queue = list{none, none}
	for i := range s.handed {
		s.handed[i] = list{none, none}
	}
	for i := range s.futexes {
		s.futexes[i] = list{none, none}
	}
}

// tid is the Linux thread ID of thread i: the first one is 1.
func tid(i int32) int64 { return int64(i) + 1 }

// newThread takes a free thread, -1 when there is none.
func (s *scheduler) newThread() int32 {
	for i := range int32(maxThreads) {
		t := &s.threads[i]
		if t.state == threadFree {
			s.high = max(s.high, i+1)
			t.next, t.prev, t.timer, t.cpu = none, none, none, none
			t.pending, t.blocked, t.altBase, t.altSize = 0, 0, 0, 0
			t.state = threadSleeping
			t.wait = waitTime
			return i
		}
	}
	return none
}

func (s *scheduler) pushBack(l *list, i int32) {
	t := &s.threads[i]
	t.next, t.prev = none, l.tail
	if l.tail == none {
		l.head = i
	} else {
		s.threads[l.tail].next = i
	}
	l.tail = i
}

func (s *scheduler) pushFront(l *list, i int32) {
	t := &s.threads[i]
	t.next, t.prev = l.head, none
	if l.head == none {
		l.tail = i
	} else {
		s.threads[l.head].prev = i
	}
	l.head = i
}

func (s *scheduler) unlink(l *list, i int32) {
	t := &s.threads[i]
	if t.prev == none {
		l.head = t.next
	} else {
		s.threads[t.prev].next = t.next
	}
	if t.next == none {
		l.tail = t.prev
	} else {
		s.threads[t.next].prev = t.prev
	}
	t.next, t.prev = none, none
}

// ready puts a thread into the run queue. front: it has waited for an event and shall run
// before those that only want to compute. An idle CPU, if there is one besides self, is kicked.
func (s *scheduler) ready(i int32, front bool, self int) {
	s.requeue(i, front)
	if others := s.idle &^ (1 << self); others != 0 && !front {
		s.kickOne(others)
	}
}

func (s *scheduler) requeue(i int32, front bool) {
	s.threads[i].state = threadRunnable
	s.queued++
	if front {
		s.pushFront(&s.queue, i)
	} else {
		s.pushBack(&s.queue, i)
	}
}

// kickOne marks the lowest CPU of a set for an interrupt and as not idle any more.
func (s *scheduler) kickOne(cpus uint64) {
	if polling := cpus & s.polling; polling != 0 {
		cpus = polling
	}
	bit := cpus & -cpus
	s.idle &^= bit
	s.kick |= bit &^ s.polling
}

// next takes the first runnable thread, -1 when there is none.
func (s *scheduler) next() int32 {
	i := s.queue.head
	if i != none {
		s.unlink(&s.queue, i)
		s.queued--
	}
	return i
}

// hand gives the running thread i to a CPU of a set, an idle one if there is one. The thread that runs there gives way, unless it was handed over
// itself: then it keeps the CPU for its slice.
func (s *scheduler) hand(i int32, cpus uint64) {
	if free := cpus & s.idle; free != 0 {
		cpus = free
	}
	bit := cpus & -cpus
	s.threads[i].state = threadRunnable
	s.pushBack(&s.handed[lowestBit(bit)], i)
	s.idle &^= bit
	s.kick |= bit &^ s.polling
}

// take takes the thread that a CPU runs next, -1 when there is none. handed: it was handed to this CPU.
func (s *scheduler) take(cpu int) (i int32, handed bool) {
	l := &s.handed[cpu]
	if i = l.head; i != none {
		s.unlink(l, i)
		return i, true
	}
	return s.next(), false
}

// work says whether there is a thread that a CPU could run. Also without the lock, as a hint.
func (s *scheduler) work(cpu int) bool {
	return atomic.LoadInt32(&s.queue.head) != none || atomic.LoadInt32(&s.handed[cpu].head) != none
}

// sleep makes the running thread i wait. deadline 0: without limit.
func (s *scheduler) sleep(i int32, wait uint8, key uint64, deadline int64) {
	t := &s.threads[i]
	t.state, t.wait, t.key = threadSleeping, wait, key
	if wait == waitFutex {
		s.pushBack(s.bucket(key), i)
	}
	if deadline != 0 {
		s.addTimer(i, deadline)
	}
}

// wake ends a sleep with a system call result.
func (s *scheduler) wake(i int32, result int64, front bool, self int) {
	t := &s.threads[i]
	if t.state != threadSleeping {
		return
	}
	if t.wait == waitFutex {
		s.unlink(s.bucket(t.key), i)
	}
	s.removeTimer(i)
	t.ctx.SetResult(result)
	s.ready(i, front, self)
}

func (s *scheduler) bucket(key uint64) *list {
	return &s.futexes[(key>>2^key>>12)%futexBuckets]
}

// futexWake wakes up to n threads that wait on key, in the order in which they came.
func (s *scheduler) futexWake(key uint64, n int64, self int) (woken int64) {
	for i := s.bucket(key).head; i != none && woken < n; {
		next := s.threads[i].next
		if s.threads[i].key == key {
			s.wake(i, 0, false, self)
			woken++
		}
		i = next
	}
	return woken
}

// expire wakes every sleeper whose deadline is not after now.
func (s *scheduler) expire(now int64, self int) (woken int) {
	for s.ntimers > 0 && s.threads[s.timers[0]].deadline <= now {
		i := s.timers[0]
		result := int64(0)
		if s.threads[i].wait == waitFutex {
			result = -int64(unix.ETIMEDOUT)
		}
		s.wake(i, result, true, self)
		woken++
	}
	return woken
}

// hasten ends every plain sleep: in the Go runtime, that is sysmon's.
func (s *scheduler) hasten(self int) (woke bool) {
	for i := range s.high {
		if t := &s.threads[i]; t.state == threadSleeping && t.wait == waitTime && t.timer != none {
			s.wake(i, 0, true, self)
			woke = true
		}
	}
	return woke
}

// earliest is the first deadline, 0 when there is none.
func (s *scheduler) earliest() int64 {
	if s.ntimers == 0 {
		return 0
	}
	return s.threads[s.timers[0]].deadline
}

// interrupt makes thread i look at its pending signals: a sleeper wakes with EINTR, a running
// one is kicked.
func (s *scheduler) interrupt(i int32, self int) {
	t := &s.threads[i]
	if t.pending&^t.blocked == 0 {
		return
	}
	switch t.state {
	case threadSleeping:
		s.wake(i, -int64(unix.EINTR), false, self)
	case threadRunning:
		if t.cpu >= 0 && int(t.cpu) != self {
			s.kick |= 1 << t.cpu
		}
	}
}

// The timer heap.

func (s *scheduler) addTimer(i int32, deadline int64) {
	s.threads[i].deadline = deadline
	s.timers[s.ntimers] = i
	s.threads[i].timer = s.ntimers
	s.ntimers++
	s.up(s.ntimers - 1)
}

func (s *scheduler) removeTimer(i int32) {
	at := s.threads[i].timer
	if at == none {
		return
	}
	s.threads[i].timer = none
	s.ntimers--
	if at == s.ntimers {
		return
	}
	s.timers[at] = s.timers[s.ntimers]
	s.threads[s.timers[at]].timer = at
	s.down(at)
	s.up(at)
}

func (s *scheduler) before(a, b int32) bool {
	return s.threads[s.timers[a]].deadline < s.threads[s.timers[b]].deadline
}

func (s *scheduler) swap(a, b int32) {
	s.timers[a], s.timers[b] = s.timers[b], s.timers[a]
	s.threads[s.timers[a]].timer = a
	s.threads[s.timers[b]].timer = b
}

func (s *scheduler) up(i int32) {
	for i > 0 && s.before(i, (i-1)/2) {
		s.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (s *scheduler) down(i int32) {
	for {
		small := i
		for c := 2*i + 1; c <= 2*i+2 && c < s.ntimers; c++ {
			if s.before(c, small) {
				small = c
			}
		}
		if small == i {
			return
		}
		s.swap(i, small)
		i = small
	}
}
