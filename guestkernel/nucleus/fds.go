package nucleus

import "golang.org/x/sys/unix"

// Descriptors of the nucleus: just what the runtime's netpoller needs, and device interrupts,
// which are eventfds that the hardware writes. 0, 1 and 2 are the log.
const (
	maxFDs    = 64
	maxWatch  = 64
	fdFree    = 0
	fdLog     = 1
	fdEpoll   = 2
	fdEvent   = 3
	fdIRQ     = 4
	epollIn   = 0x1
	epollOut  = 0x4
	epollET   = 1 << 31
	ctlAdd    = 1
	ctlDel    = 2
	ctlMod    = 3
	fGetFD    = 1
	fSetFD    = 2
	fGetFL    = 3
	fSetFL    = 4
	oNonblock = 0x800
	oRDWR     = 2
)

type fd struct {
	kind  uint8
	line  uint32 // fdIRQ
	count uint64 // fdEvent, fdIRQ: what read(2) returns and clears
}

// watch is one entry of an epoll interest list.
type watch struct {
	used   bool
	fresh  bool // edge-triggered: something has happened since it was reported last
	epfd   uint8
	fd     uint8
	events uint32
	data   uint64
}

type fdTable struct {
	fds     [maxFDs]fd
	watches [maxWatch]watch
	high    int // watches [0, high) have been used
}

func (f *fdTable) init() {
	for i := range 3 {
		f.fds[i].kind = fdLog
	}
}

func (f *fdTable) get(n uint64) *fd {
	if n >= maxFDs || f.fds[n].kind == fdFree {
		return nil
	}
	return &f.fds[n]
}

func (f *fdTable) open(kind uint8, count uint64) int64 {
	for i := range f.fds {
		if f.fds[i].kind == fdFree {
			f.fds[i] = fd{kind: kind, count: count}
			return int64(i)
		}
	}
	return -int64(unix.EMFILE)
}

// openIRQ makes a descriptor that becomes readable when the line fires, routed to the CPU.
func (f *fdTable) openIRQ(line uint32, cpu int) int64 {
	for i := range f.fds {
		if f.fds[i].kind == fdIRQ && f.fds[i].line == line {
			return -int64(unix.EBUSY)
		}
	}
	n := f.open(fdIRQ, 0)
	if n < 0 {
		return n
	}
	f.fds[n].line = line
	if !enableLine(line, cpu) {
		f.fds[n] = fd{}
		return -int64(unix.ENODEV)
	}
	return n
}

func (f *fdTable) close(n uint64) int64 {
	d := f.get(n)
	if d == nil {
		return -int64(unix.EBADF)
	}
	if d.kind == fdIRQ {
		disableLine(d.line)
	}
	for i := range f.high {
		if w := &f.watches[i]; w.used && (uint64(w.fd) == n || uint64(w.epfd) == n) {
			*w = watch{}
		}
	}
	*d = fd{}
	return 0
}

func (f *fdTable) fcntl(n, cmd uint64) int64 {
	d := f.get(n)
	if d == nil {
		return -int64(unix.EBADF)
	}
	switch cmd {
	case fGetFD, fSetFD, fSetFL:
		return 0
	case fGetFL:
		if d.kind == fdLog {
			return oRDWR
		}
		return oRDWR | oNonblock
	}
	return -int64(unix.EINVAL)
}

// line is a device interrupt: its descriptor becomes readable. It reports whether a thread woke.
func (f *fdTable) line(line uint32, s *scheduler, me int) (woke bool) {
	for i := range f.fds {
		if f.fds[i].kind == fdIRQ && f.fds[i].line == line {
			return f.signal(uint64(i), 1, true, s, me)
		}
	}
	return false
}

// signal adds to a descriptor's counter and wakes who waits for it.
func (f *fdTable) signal(n, count uint64, front bool, s *scheduler, me int) (woke bool) {
	f.fds[n].count += count
	for i := range f.high {
		w := &f.watches[i]
		if !w.used || uint64(w.fd) != n {
			continue
		}
		w.fresh = true
		woke = f.notify(uint64(w.epfd), front, s, me) || woke
	}
	return woke
}

// notify wakes one thread that waits on an epoll descriptor, if there is something for it.
func (f *fdTable) notify(epfd uint64, front bool, s *scheduler, me int) bool {
	for i := range s.high {
		t := &s.threads[i]
		if t.state != threadSleeping || t.wait != waitEpoll || t.key != epfd {
			continue
		}
		n := f.collect(epfd, t.events, t.maxEvents)
		if n == 0 {
			return false
		}
		s.wake(i, n, front, me)
		return true
	}
	return false
}

// collect writes the ready entries of an interest list to an array of struct epoll_event,
// which the caller has made present.
func (f *fdTable) collect(epfd, buf uint64, room int32) (n int64) {
	for i := range f.high {
		w := &f.watches[i]
		if !w.used || uint64(w.epfd) != epfd || n == int64(room) {
			continue
		}
		ready := uint32(epollOut)
		if f.fds[w.fd].count > 0 {
			ready |= epollIn
		}
		ready &= w.events
		if ready == 0 || w.events&epollET != 0 && !w.fresh {
			continue
		}
		w.fresh = false
		at := buf + uint64(n)*epollEventSize
		store32(at, ready)
		store64(at+epollDataAt, w.data)
		n++
	}
	return n
}

func sysEpollCtl(epfd, op, n, ev uint64, me int) int64 {
	f := &k.fds
	if e := f.get(epfd); e == nil || e.kind != fdEpoll {
		return -int64(unix.EBADF)
	}
	if d := f.get(n); d == nil {
		return -int64(unix.EBADF)
	} else if d.kind != fdEvent && d.kind != fdIRQ {
		return -int64(unix.EPERM)
	}
	at, free := -1, -1
	for i := range f.watches {
		w := &f.watches[i]
		switch {
		case !w.used:
			if free < 0 {
				free = i
			}
		case uint64(w.epfd) == epfd && uint64(w.fd) == n:
			at = i
		}
	}
	if op == ctlDel {
		if at < 0 {
			return -int64(unix.ENOENT)
		}
		f.watches[at] = watch{}
		return 0
	}
	if !present(ev, epollEventSize) {
		return -int64(unix.EFAULT)
	}
	switch {
	case op == ctlAdd && at >= 0:
		return -int64(unix.EEXIST)
	case op == ctlMod && at < 0:
		return -int64(unix.ENOENT)
	case op == ctlAdd && free < 0:
		return -int64(unix.ENOSPC)
	case op == ctlAdd:
		at = free
	case op != ctlMod:
		return -int64(unix.EINVAL)
	}
	f.high = max(f.high, at+1)
	f.watches[at] = watch{
		used: true, fresh: true, epfd: uint8(epfd), fd: uint8(n),
		events: load32(ev), data: load64(ev + epollDataAt),
	}
	f.notify(epfd, false, &k.sched, me)
	return 0
}

func sysEpollWait(i int32, epfd, buf, room, timeout uint64) int64 {
	f := &k.fds
	if e := f.get(epfd); e == nil || e.kind != fdEpoll {
		return -int64(unix.EBADF)
	}
	if int32(room) <= 0 || room > 4096 {
		return -int64(unix.EINVAL)
	}
	if !present(buf, room*epollEventSize) {
		return -int64(unix.EFAULT)
	}
	if n := f.collect(epfd, buf, int32(room)); n > 0 || int32(timeout) == 0 {
		return n
	}
	deadline := int64(0)
	if ms := int64(int32(timeout)); ms > 0 {
		deadline = nanotime() + ms*1e6
	}
	t := &k.sched.threads[i]
	t.events, t.maxEvents = buf, int32(room)
	k.sched.sleep(i, waitEpoll, epfd, deadline)
	return noReturn
}

func sysRead(n, buf, size uint64) int64 {
	d := k.fds.get(n)
	switch {
	case d == nil:
		return -int64(unix.EBADF)
	case d.kind == fdLog:
		return 0
	case d.kind == fdEpoll || size < 8:
		return -int64(unix.EINVAL)
	case d.count == 0:
		return -int64(unix.EAGAIN)
	case !present(buf, 8):
		return -int64(unix.EFAULT)
	}
	store64(buf, d.count)
	d.count = 0
	return 8
}

func sysWrite(n, buf, size uint64, me int) int64 {
	d := k.fds.get(n)
	switch {
	case d == nil:
		return -int64(unix.EBADF)
	case d.kind == fdLog:
		size = min(size, 1<<20)
		if !present(buf, size) {
			return -int64(unix.EFAULT)
		}
		// The early console takes one exit a byte: let other CPUs into the nucleus between lines.
		for done := uint64(0); done < size; {
			n := lineLength(memory(uintptr(buf+done), int(size-done)))
			logWrite(uintptr(buf+done), n)
			if done += uint64(n); done < size {
				unlock()
				lock()
			}
		}
		return int64(size)
	case d.kind != fdEvent || size != 8:
		return -int64(unix.EINVAL)
	case !present(buf, 8):
		return -int64(unix.EFAULT)
	}
	k.fds.signal(n, load64(buf), false, &k.sched, me)
	return 8
}
