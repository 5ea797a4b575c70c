package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/eventfs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

func init() {
	register(map[string]Handler{
		"eventfd": eventfd, "eventfd2": eventfd2,
		"epoll_create": epollCreate, "epoll_create1": epollCreate1, "epoll_ctl": epollCtl,
		"epoll_wait": epollWait, "epoll_pwait": epollPwait, "epoll_pwait2": epollPwait2,
	})
}

func eventfd(t *task.Task, a Args) (uint64, error) { return makeEventfd(t, a.Uint(0), 0) }

func eventfd2(t *task.Task, a Args) (uint64, error) { return makeEventfd(t, a.Uint(0), a.Uint(1)) }

func makeEventfd(t *task.Task, count, flags uint32) (uint64, error) {
	d, err := eventfs.NewEventfd(t, count, flags)
	if err != nil {
		return 0, err
	}
	return install(t, d, flags&unix.EFD_CLOEXEC != 0)
}

func epollCreate(t *task.Task, a Args) (uint64, error) {
	if a.Int(0) <= 0 {
		return 0, unix.EINVAL
	}
	return epollCreate1(t, Args{})
}

func epollCreate1(t *task.Task, a Args) (uint64, error) {
	if a.Uint(0)&^unix.EPOLL_CLOEXEC != 0 {
		return 0, unix.EINVAL
	}
	d, err := eventfs.NewEpoll(t)
	if err != nil {
		return 0, err
	}
	return install(t, d, a.Uint(0)&unix.EPOLL_CLOEXEC != 0)
}

// epollCtl serves struct epoll_event, which is packed on amd64 and not on arm64.
func epollCtl(t *task.Task, a Args) (uint64, error) {
	op := a.Int(1)
	var e eventfs.Event
	if op != unix.EPOLL_CTL_DEL {
		var b [16]byte
		if err := t.CopyInUser(a[3], b[:epollEventSize]); err != nil {
			return 0, err
		}
		e = eventfs.Event{Events: wait.Mask(le.Uint32(b[:])), Data: le.Uint64(b[epollDataOffset:])}
	}
	epd, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer epd.Unref()
	d, err := get(t, a.Int(2))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if !d.Pollable() {
		return 0, unix.EPERM
	}
	ep, err := eventfs.EpollOf(epd)
	if err != nil || d == epd {
		return 0, unix.EINVAL
	}
	return 0, ep.Control(op, a.Int(2), d, e)
}

func epollEvents(t *task.Task, a Args, block bool, deadline time.Time) (uint64, error) {
	n := a.Int(2)
	if n <= 0 || n > (1<<31-1)/epollEventSize {
		return 0, unix.EINVAL
	}
	epd, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer epd.Unref()
	ep, err := eventfs.EpollOf(epd)
	if err != nil {
		return 0, err
	}
	n = min(n, vfs.MaxDescriptors)
	var few [16]eventfs.Event // most calls allocate nothing
	events := ep.Collect(few[:0], n)
	if len(events) == 0 && block {
		if events, err = ep.Wait(t, n, deadline); err != nil {
			return 0, err
		}
	}
	var fewBytes [16 * epollEventSize]byte
	b := fewBytes[:]
	if len(events) > len(few) {
		b = make([]byte, len(events)*epollEventSize)
	}
	b = b[:len(events)*epollEventSize]
	for i, e := range events {
		le.PutUint32(b[i*epollEventSize:], uint32(e.Events))
		le.PutUint64(b[i*epollEventSize+epollDataOffset:], e.Data)
	}
	return uint64(len(events)), t.CopyOutUser(a[1], b)
}

func epollWait(t *task.Task, a Args) (uint64, error) {
	ms := a.Int(3)
	var deadline time.Time
	if ms > 0 {
		deadline = time.Now().Add(time.Duration(ms) * time.Millisecond)
	}
	return epollEvents(t, a, ms != 0, deadline)
}

func epollPwait(t *task.Task, a Args) (uint64, error) {
	if err := suspendMask(t, a[4], a[5]); err != nil {
		return 0, err
	}
	return epollWait(t, a)
}

func epollPwait2(t *task.Task, a Args) (uint64, error) {
	to, err := loadTimeout(t, a[3], 1)
	if err != nil {
		return 0, err
	}
	if err := suspendMask(t, a[4], a[5]); err != nil {
		return 0, err
	}
	return epollEvents(t, a, to.block, to.deadline)
}
