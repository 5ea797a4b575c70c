package nucleus

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

const self = 0

// newScheduler has n threads, all of them running as far as the bookkeeping is concerned.
func newScheduler(t *testing.T, n int) *scheduler {
	t.Helper()
	s := new(scheduler)
	s.init()
	for range n {
		i := s.newThread()
		if i == none {
			t.Fatal("no thread")
		}
		s.threads[i].state = threadRunning
	}
	return s
}

func drain(s *scheduler) (order []int32) {
	for i := s.next(); i != none; i = s.next() {
		order = append(order, i)
	}
	return order
}

func equal(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestRunQueueOrder(t *testing.T) {
	s := newScheduler(t, 4)
	s.ready(0, false, self)
	s.ready(1, false, self)
	s.ready(2, true, self) // it has waited for an event
	s.ready(3, false, self)
	if got := drain(s); !equal(got, []int32{2, 0, 1, 3}) {
		t.Errorf("order %v", got)
	}
	if s.queued != 0 {
		t.Errorf("%d queued in an empty queue", s.queued)
	}
}

func TestReadyKicksAnIdleCPUOnce(t *testing.T) {
	s := newScheduler(t, 3)
	s.idle = 0b1101 // this CPU, 2 and 3
	s.ready(0, false, self)
	if s.kick != 0b0100 || s.idle != 0b1001 {
		t.Errorf("kick %b, idle %b", s.kick, s.idle)
	}
	s.ready(1, false, self)
	s.ready(2, false, self)
	if s.kick != 0b1100 || s.idle != 0b0001 {
		t.Errorf("then kick %b, idle %b: the CPU that is asking must not kick itself", s.kick, s.idle)
	}
}

// TestHandedThreadRunsOnItsCPUOnly: the run queue is for everybody, a thread that was handed over for one CPU.
func TestHandedThreadRunsOnItsCPUOnly(t *testing.T) {
	s := newScheduler(t, 4)
	s.idle = 0b1000
	s.hand(0, 0b0110) // nobody of them is idle: the lowest, interrupted
	if s.kick != 0b0010 {
		t.Errorf("kick %b, want CPU 1", s.kick)
	}
	s.hand(1, 0b1010) // CPU 3 is idle
	if s.kick != 0b1010 || s.idle != 0 {
		t.Errorf("kick %b, idle %b, want CPU 3 kicked and not idle any more", s.kick, s.idle)
	}
	s.ready(2, false, self)
	if s.work(1) != true || s.work(0) != true {
		t.Error("CPUs do not see their work")
	}
	if i, handed := s.take(0); i != 2 || handed {
		t.Errorf("CPU 0 took %d", i)
	}
	if i, _ := s.take(0); i != none || s.work(0) {
		t.Errorf("CPU 0 took %d, which is for another one", i)
	}
	for cpu, want := range map[int]int32{1: 0, 3: 1} {
		if i, handed := s.take(cpu); i != want || !handed {
			t.Errorf("CPU %d took %d, want %d", cpu, i, want)
		}
	}
}

func TestPollingCPUNeedsNoInterrupt(t *testing.T) {
	s := newScheduler(t, 2)
	s.idle, s.polling = 0b110, 0b100
	s.ready(0, false, self)
	if s.kick != 0 || s.idle != 0b010 {
		t.Errorf("kick %b, idle %b: the polling CPU finds the thread by itself", s.kick, s.idle)
	}
	s.ready(1, false, self)
	if s.kick != 0b010 {
		t.Errorf("kick %b: the second thread is for the halted CPU", s.kick)
	}
}

func TestFutexWakesInOrderAndOnlyTheKey(t *testing.T) {
	s := newScheduler(t, 5)
	const key = 0x1000
	other := uint64(key + futexBuckets*4) // may share the bucket
	for i := range int32(4) {
		s.sleep(i, waitFutex, key, 0)
	}
	s.sleep(4, waitFutex, other, 0)
	if n := s.futexWake(key, 2, self); n != 2 {
		t.Errorf("woke %d, want 2", n)
	}
	if got := drain(s); !equal(got, []int32{0, 1}) {
		t.Errorf("woke %v", got)
	}
	if n := s.futexWake(key, 100, self); n != 2 {
		t.Errorf("woke %d, want the other 2", n)
	}
	if n := s.futexWake(key, 100, self); n != 0 {
		t.Errorf("woke %d of nobody", n)
	}
	if n := s.futexWake(other, 1, self); n != 1 {
		t.Errorf("woke %d on the other key", n)
	}
}

func TestFutexTimeout(t *testing.T) {
	s := newScheduler(t, 2)
	s.sleep(0, waitFutex, 64, 1000)
	s.sleep(1, waitTime, 0, 1000)
	if s.expire(999, self) != 0 {
		t.Error("woke before the deadline")
	}
	if s.expire(1000, self) != 2 {
		t.Error("not everybody woke at the deadline")
	}
	if got := result(s, 0); got != -int64(unix.ETIMEDOUT) {
		t.Errorf("futex result %d", got)
	}
	if got := result(s, 1); got != 0 {
		t.Errorf("nanosleep result %d", got)
	}
	if s.futexWake(64, 1, self) != 0 {
		t.Error("a thread that timed out is still in its bucket")
	}
}

func result(s *scheduler, i int32) int64 { return s.threads[i].ctx.Result() }

func TestTimersExpireInOrder(t *testing.T) {
	const n = 300
	s := newScheduler(t, n)
	rng := rand.New(rand.NewPCG(5, 6))
	sleeping := map[int32]int64{}
	for i := range int32(n) {
		d := int64(1 + rng.IntN(1000))
		s.sleep(i, waitTime, 0, d)
		sleeping[i] = d
	}
	for i := int32(0); i < n; i += 3 { // some are woken early by something else
		s.wake(i, 0, false, self)
		delete(sleeping, i)
	}
	drain(s)
	for now := int64(0); now <= 1007; now += 7 {
		s.expire(now, self)
		for _, i := range drain(s) {
			d, ok := sleeping[i]
			if !ok || d > now {
				t.Fatalf("thread %d with deadline %d woke at %d", i, d, now)
			}
			delete(sleeping, i)
		}
		earliest := int64(0)
		for i, d := range sleeping {
			if d <= now {
				t.Fatalf("thread %d with deadline %d sleeps at %d", i, d, now)
			}
			if earliest == 0 || d < earliest {
				earliest = d
			}
		}
		if s.earliest() != earliest {
			t.Fatalf("earliest %d, want %d", s.earliest(), earliest)
		}
	}
	if len(sleeping) != 0 || s.ntimers != 0 {
		t.Errorf("%d threads and %d timers left", len(sleeping), s.ntimers)
	}
}

func TestSignalInterruptsASleep(t *testing.T) {
	s := newScheduler(t, 3)
	const urg = 1 << (unix.SIGURG - 1)
	s.sleep(0, waitFutex, 8, 5000)
	s.threads[0].pending, s.threads[0].blocked = urg, urg
	s.interrupt(0, self)
	if s.threads[0].state != threadSleeping {
		t.Error("a blocked signal woke a sleeper")
	}
	s.threads[0].blocked = 0
	s.interrupt(0, self)
	if s.threads[0].state != threadRunnable || result(s, 0) != -int64(unix.EINTR) || s.ntimers != 0 {
		t.Errorf("state %d, result %d, %d timers", s.threads[0].state, result(s, 0), s.ntimers)
	}
	s.threads[1].cpu, s.threads[1].pending = 2, urg
	s.interrupt(1, self)
	if s.kick != 1<<2 {
		t.Errorf("kick %b: the CPU that runs the thread has to look", s.kick)
	}
	s.threads[2].cpu, s.threads[2].pending = self, urg
	s.kick = 0
	s.interrupt(2, self)
	if s.kick != 0 {
		t.Error("a thread on this very CPU needs no kick")
	}
}

func TestHastenEndsPlainSleepsOnly(t *testing.T) {
	s := newScheduler(t, 3)
	s.sleep(0, waitTime, 0, 5000)
	s.sleep(1, waitFutex, 8, 5000)
	if !s.hasten(self) || s.next() != 0 || s.next() != none || s.threads[1].state != threadSleeping {
		t.Error("not exactly the plain sleep has ended")
	}
	if s.hasten(self) {
		t.Error("nobody was left to hasten")
	}
}

func TestThreadsRunOutAndAreReused(t *testing.T) {
	s := newScheduler(t, maxThreads)
	if i := s.newThread(); i != none {
		t.Errorf("thread %d beyond the last", i)
	}
	s.threads[77].state = threadFree
	s.threads[77].pending = 5
	if i := s.newThread(); i != 77 || s.threads[77].pending != 0 {
		t.Errorf("thread %d with pending %#x", i, s.threads[77].pending)
	}
}

func TestNetpollDescriptors(t *testing.T) {
	const bufferSize = 8 * epollEventSize
	var buffer [bufferSize]byte
	addr := uint64(bytesAddr(buffer[:]))
	s := newScheduler(t, 1)
	var f fdTable
	f.init()
	ep, ev := uint64(f.open(fdEpoll, 0)), uint64(f.open(fdEvent, 0))
	if ep != 3 || ev != 4 {
		t.Fatalf("descriptors %d and %d, want 3 and 4", ep, ev)
	}
	f.watches[0] = watch{used: true, epfd: uint8(ep), fd: uint8(ev), events: epollIn, data: 0xfeed}
	f.high = 1
	if n := f.collect(ep, addr, 8); n != 0 {
		t.Errorf("%d events of an empty eventfd", n)
	}
	// Level triggered: reported until it is read.
	s.threads[0].events, s.threads[0].maxEvents = addr, 8
	s.sleep(0, waitEpoll, ep, 0)
	if !f.signal(ev, 1, true, s, self) || s.next() != 0 {
		t.Error("the poller was not woken")
	}
	if load32(addr) != epollIn || load64(addr+epollDataAt) != 0xfeed {
		t.Errorf("event %#x, data %#x", load32(addr), load64(addr+epollDataAt))
	}
	if f.collect(ep, addr, 8) != 1 {
		t.Error("a level triggered event was reported once only")
	}
	// Edge triggered: once for each change.
	f.watches[0].events = epollIn | epollET
	f.watches[0].fresh = false
	if f.collect(ep, addr, 8) != 0 {
		t.Error("an edge triggered event without an edge")
	}
	f.signal(ev, 1, true, s, self)
	if f.collect(ep, addr, 8) != 1 || f.collect(ep, addr, 8) != 0 {
		t.Error("an edge has to be reported exactly once")
	}
	if f.fds[ev].count != 2 {
		t.Errorf("count %d", f.fds[ev].count)
	}
	if f.close(ev) != 0 || f.watches[0].used {
		t.Error("a closed descriptor is still watched")
	}
	if f.close(ev) != -int64(unix.EBADF) {
		t.Error("closed twice")
	}
}

// TestChaCha20 compares with RFC 8439, appendix A.1, test vector 1: all zero.
func TestChaCha20(t *testing.T) {
	var g generator
	var out [16]uint32
	g.block(&out, 0)
	if out[0] != 0xade0b876 || out[1] != 0x903df1a0 || out[15] != 0x8665eeb2 {
		t.Errorf("block %08x %08x ... %08x", out[0], out[1], out[15])
	}
	var a, b [100]byte
	g.read(a[:])
	g.read(b[:])
	if a == b {
		t.Error("the generator repeats itself")
	}
}
