package eventfs_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/eventfs"
	"ringo/guestkernel/fs/pipefs"
	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
	"ringo/guestkernel/wait"
)

// side is Linux or ours, with files known by small numbers.
type side interface {
	pipe()
	eventfd(count uint32, flags uint32)
	epoll()
	close(n int) string
	dup(n int)
	read(n, size int) string
	write(n int, data string) string
	control(ep, op, n int, events uint32, data uint64) string
	wait(ep, max int) string
	poll(n int) string
}

func text(n int, err error) string {
	if err == nil {
		return fmt.Sprint(n)
	}
	if err == wait.ErrWouldBlock {
		err = unix.EAGAIN
	}
	return unix.ErrnoName(err.(unix.Errno))
}

type linux struct{ fds []int }

func (l *linux) add(fd int, err error) {
	if err != nil {
		panic(err)
	}
	l.fds = append(l.fds, fd)
}
func (l *linux) pipe() {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK); err != nil {
		panic(err)
	}
	l.add(p[0], nil)
	l.add(p[1], nil)
}
func (l *linux) eventfd(count, flags uint32) {
	l.add(unix.Eventfd(uint(count), int(flags|unix.EFD_NONBLOCK)))
}
func (l *linux) epoll()    { l.add(unix.EpollCreate1(0)) }
func (l *linux) dup(n int) { l.add(unix.Dup(l.fds[n])) }
func (l *linux) close(n int) string {
	err := unix.Close(l.fds[n])
	l.fds[n] = 100000
	return text(0, err)
}
func (l *linux) read(n, size int) string {
	b := make([]byte, size)
	n, err := unix.Read(l.fds[n], b)
	return fmt.Sprintf("%q ", b[:max(n, 0)]) + text(max(n, 0), err)
}
func (l *linux) write(n int, data string) string {
	n, err := unix.Write(l.fds[n], []byte(data))
	return text(max(n, 0), err)
}
func (l *linux) control(ep, op, n int, events uint32, data uint64) string {
	e := unix.EpollEvent{Events: events, Fd: int32(data)}
	return text(0, unix.EpollCtl(l.fds[ep], op, l.fds[n], &e))
}
func (l *linux) wait(ep, most int) string {
	e := make([]unix.EpollEvent, most)
	n, err := unix.EpollWait(l.fds[ep], e, 0)
	var out []string
	for _, e := range e[:max(n, 0)] {
		out = append(out, fmt.Sprintf("%d:%#x", e.Fd, e.Events))
	}
	slices.Sort(out)
	return fmt.Sprint(out, text(max(n, 0), err))
}
func (l *linux) poll(n int) string {
	p := []unix.PollFd{{Fd: int32(l.fds[n]), Events: -1}}
	if _, err := unix.Poll(p, 0); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%#x", uint16(p[0].Revents))
}

type ours struct {
	c     *vfstest.Caller
	fds   []int
	pipes *pipefs.FS
}

func newOurs() *ours {
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: vfs.NewHeapFrames(10)}), "none", 0)
	return &ours{c: vfstest.NewCaller(ns.Root()), pipes: pipefs.NewFS()}
}
func (o *ours) add(d *vfs.Description, err error) {
	if err != nil {
		panic(err)
	}
	fd, err := o.c.FDs().Install(d, 0, false, 1000)
	if err != nil {
		panic(err)
	}
	o.fds = append(o.fds, fd)
}
func (o *ours) get(n int) (*vfs.Description, func(), error) {
	d, err := o.c.FDs().Get(o.fds[n])
	if err != nil {
		return nil, func() {}, err
	}
	return d, d.Unref, nil
}
func (o *ours) pipe() {
	r, w, err := o.pipes.Pipe(o.c, unix.O_NONBLOCK)
	o.add(r, err)
	o.add(w, err)
}
func (o *ours) eventfd(count, flags uint32) {
	o.add(eventfs.NewEventfd(o.c, count, flags|unix.EFD_NONBLOCK))
}
func (o *ours) epoll() { o.add(eventfs.NewEpoll(o.c)) }
func (o *ours) dup(n int) {
	d, _, err := o.get(n)
	if err != nil {
		panic(err)
	}
	o.add(d, nil)
}
func (o *ours) close(n int) string {
	d, err := o.c.FDs().Remove(o.fds[n])
	o.fds[n] = 100000
	if err == nil {
		d.Unref()
	}
	return text(0, err)
}
func (o *ours) read(n, size int) string {
	d, done, err := o.get(n)
	defer done()
	b := make(vfs.Bytes, size)
	k := 0
	if err == nil {
		k, err = d.Read(o.c, b)
	}
	return fmt.Sprintf("%q ", []byte(b[:k])) + text(k, err)
}
func (o *ours) write(n int, data string) string {
	d, done, err := o.get(n)
	defer done()
	k := 0
	if err == nil {
		k, err = d.Write(o.c, vfs.Bytes(data))
	}
	return text(k, err)
}
func (o *ours) control(ep, op, n int, events uint32, data uint64) string {
	epd, done, err := o.get(ep)
	defer done()
	d, done2, err2 := o.get(n)
	defer done2()
	if err == nil {
		err = err2
	}
	if err != nil {
		return text(0, err)
	}
	e, err := eventfs.EpollOf(epd)
	if err == nil && d == epd {
		err = unix.EINVAL
	}
	if err == nil {
		err = e.Control(op, o.fds[n], d, eventfs.Event{Events: wait.Mask(events), Data: data})
	}
	return text(0, err)
}
func (o *ours) wait(ep, most int) string {
	epd, done, err := o.get(ep)
	defer done()
	if err != nil {
		return text(0, err)
	}
	e, err := eventfs.EpollOf(epd)
	if err != nil {
		return text(0, err)
	}
	events := e.Collect(nil, most)
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%d:%#x", e.Data, uint32(e.Events)))
	}
	slices.Sort(out)
	return fmt.Sprint(out, text(len(events), err))
}
func (o *ours) poll(n int) string {
	d, done, err := o.get(n)
	defer done()
	if err != nil {
		return "0x20"
	}
	return fmt.Sprintf("%#x", uint16(d.Readiness(0xffff)))
}

// TestLikeLinux runs random operations on pipes, eventfds and epoll instances, here and on the host.
func TestLikeLinux(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		l, o := &linux{}, newOurs()
		both := []side{l, o}
		var log []string
		step := func(name string, run func(s side) string) bool {
			want, got := run(both[0]), run(both[1])
			log = append(log, name+" = "+want)
			if want != got {
				t.Errorf("seed %d:\n%s\nLinux: %s\nours:  %s", seed, strings.Join(log, "\n"), want, got)
			}
			return want == got
		}
		for _, s := range both {
			s.pipe()
			s.epoll()
			s.eventfd(uint32(seed%3), uint32(seed/3%2))
			s.epoll()
			s.pipe()
		}
		kinds := []int{0, 1, 2, 3, 2, 0, 1} // pipe, pipe, epoll, eventfd
		ok := true
		for range 120 {
			n, ep := r.IntN(len(kinds)), 2
			if r.IntN(4) == 0 {
				ep = 4
			}
			events := []uint32{unix.EPOLLIN, unix.EPOLLOUT, unix.EPOLLIN | unix.EPOLLOUT, 0}[r.IntN(4)]
			if r.IntN(3) == 0 {
				events |= 1 << 31 // EPOLLET
			}
			if r.IntN(4) == 0 {
				events |= unix.EPOLLONESHOT
			}
			data := "abcdefgh"
			if kinds[n] != 3 {
				data = strings.Repeat("x", []int{0, 1, 8, 4096, 5000, 70000}[r.IntN(6)])
			} else if r.IntN(2) == 0 {
				data = "\x01\x00\x00\x00\x00\x00\x00\x00"
			}
			size := []int{0, 7, 8, 100, 4096, 10000, 65536}[r.IntN(7)]
			switch k := r.IntN(12); {
			case k < 3:
				op := []int{unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_ADD, unix.EPOLL_CTL_MOD, unix.EPOLL_CTL_DEL, 9}[r.IntN(5)]
				ok = step(fmt.Sprintf("ctl(%d, %d, %d, %#x)", ep, op, n, events), func(s side) string { return s.control(ep, op, n, events, uint64(n)) })
			case k < 6:
				const most = 8 // all of them: the order among ready files is no contract
				ok = step(fmt.Sprintf("wait(%d, %d)", ep, most), func(s side) string { return s.wait(ep, most) })
			case k < 8:
				ok = step(fmt.Sprintf("write(%d, %d)", n, len(data)), func(s side) string { return s.write(n, data) })
			case k < 10:
				ok = step(fmt.Sprintf("read(%d, %d)", n, size), func(s side) string { return s.read(n, size) })
			case k == 10:
				ok = step(fmt.Sprintf("poll(%d)", n), func(s side) string { return s.poll(n) })
			default:
				if r.IntN(5) == 0 && n != 2 && n != 4 {
					ok = step(fmt.Sprintf("close(%d)", n), func(s side) string { return s.close(n) })
				}
			}
			if !ok {
				break
			}
		}
		for _, fd := range l.fds {
			unix.Close(fd)
		}
		if !ok {
			return
		}
	}
}
