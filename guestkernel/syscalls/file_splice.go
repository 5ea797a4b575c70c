package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/pipefs"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

func init() {
	register(map[string]Handler{"splice": splice, "tee": tee, "vmsplice": vmsplice})
}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK | unix.SPLICE_F_MORE | unix.SPLICE_F_GIFT

// spliceChunk is how many bytes one step moves.
const spliceChunk = 64 << 10

// until calls try until it does not block; with nonBlock it answers EAGAIN instead of waiting.
func until(t *task.Task, d *vfs.Description, mask wait.Mask, nonBlock bool, try func() error) error {
	err := try()
	if err != wait.ErrWouldBlock {
		return err
	}
	if nonBlock {
		return unix.EAGAIN
	}
	return wait.Block(t, d.File(), mask, time.Time{}, try)
}

// waitRoom waits until the pipe that out writes to has room, and answers how much.
func waitRoom(t *task.Task, out *vfs.Description, nonBlock bool) (room int, err error) {
	err = until(t, out, wait.Writable, nonBlock, func() error {
		if out.Readiness(wait.Out)&wait.Err != 0 {
			t.Signal(unix.SIGPIPE)
			return unix.EPIPE
		}
		if room = pipefs.Of(out).Room(); room == 0 {
			return wait.ErrWouldBlock
		}
		return nil
	})
	return room, err
}

// endpoint is one side of a splice.
type endpoint struct {
	d    *vfs.Description
	addr uint64 // of the offset in user memory; 0: the description's own
	pos  int64
}

func (e *endpoint) load(t *task.Task) error {
	if e.addr == 0 {
		return nil
	}
	if e.d.File().Stream() {
		return unix.EINVAL // no FMODE_PREAD; pipes, which are ESPIPE, do not come here
	}
	var b [8]byte
	if err := t.CopyInUser(e.addr, b[:]); err != nil {
		return err
	}
	if e.pos = int64(le.Uint64(b[:])); e.pos < 0 {
		return unix.EINVAL
	}
	return nil
}

func (e *endpoint) store(t *task.Task) error {
	if e.addr == 0 {
		return nil
	}
	var b [8]byte
	le.PutUint64(b[:], uint64(e.pos))
	return t.CopyOutUser(e.addr, b[:])
}

func (e *endpoint) read(t *task.Task, b vfs.Bytes) (n int, err error) {
	if e.addr == 0 {
		return e.d.Read(t, b)
	}
	n, err = e.d.ReadAt(t, b, e.pos)
	e.pos += int64(n)
	return n, err
}

func (e *endpoint) write(t *task.Task, b vfs.Bytes) (n int, err error) {
	if e.addr == 0 {
		return e.d.Write(t, b)
	}
	n, err = e.d.WriteAt(t, b, e.pos)
	e.pos += int64(n)
	return n, err
}

func splice(t *task.Task, a Args) (uint64, error) {
	flags := a.Uint(5)
	if a[4] == 0 {
		return 0, nil
	}
	if flags&^spliceFlags != 0 {
		return 0, unix.EINVAL
	}
	in, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer in.Unref()
	out, err := get(t, a.Int(2))
	if err != nil {
		return 0, err
	}
	defer out.Unref()
	if !in.Readable() || !out.Writable() {
		return 0, unix.EBADF
	}
	from, to := endpoint{d: in, addr: a[1]}, endpoint{d: out, addr: a[3]}
	pin, pout := pipefs.Of(in), pipefs.Of(out)
	switch {
	case pin != nil && a[1] != 0, pout != nil && a[3] != 0:
		return 0, unix.ESPIPE
	case pin == nil && pout == nil, pin == pout:
		return 0, unix.EINVAL
	case pout == nil && out.Flags()&unix.O_APPEND != 0:
		return 0, unix.EINVAL
	}
	if err := from.load(t); err != nil {
		return 0, err
	}
	if err := to.load(t); err != nil {
		return 0, err
	}
	nonBlock := flags&unix.SPLICE_F_NONBLOCK != 0
	n := int(min(a[4], spliceChunk))
	if pin != nil {
		err := until(t, in, wait.Readable, nonBlock || in.NonBlocking(), func() error {
			_, err := pin.Peek(nil)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	if pout != nil {
		room, err := waitRoom(t, out, nonBlock || out.NonBlocking())
		if err != nil {
			return 0, err
		}
		n = min(n, room)
	}
	buf := make(vfs.Bytes, n)
	if pin != nil && pout == nil {
		return drain(t, in, pin, &to, buf)
	}
	got, err := from.read(t, buf)
	if err != nil || got == 0 {
		return 0, err
	}
	put, err := to.write(t, buf[:got])
	if put == 0 {
		return 0, err
	}
	if err := from.store(t); err != nil {
		return 0, err
	}
	return uint64(put), to.store(t)
}

// drain moves what is in a pipe to a file that may take only a part, like a socket: what it does not take stays in the pipe. Two that drain one pipe at
// the same time may both move a byte.
func drain(t *task.Task, in *vfs.Description, pin *pipefs.Pipe, to *endpoint, buf vfs.Bytes) (uint64, error) {
	got, err := pin.Peek(buf)
	if err != nil || got == 0 {
		return 0, err
	}
	put, err := to.write(t, buf[:got])
	if put == 0 {
		return 0, err
	}
	if _, err := in.Read(t, buf[:put]); err != nil {
		return 0, err
	}
	return uint64(put), to.store(t)
}

func tee(t *task.Task, a Args) (uint64, error) {
	if a.Uint(3)&^spliceFlags != 0 {
		return 0, unix.EINVAL
	}
	if a[2] == 0 {
		return 0, nil
	}
	in, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer in.Unref()
	out, err := get(t, a.Int(1))
	if err != nil {
		return 0, err
	}
	defer out.Unref()
	if !in.Readable() || !out.Writable() {
		return 0, unix.EBADF
	}
	pin, pout := pipefs.Of(in), pipefs.Of(out)
	if pin == nil || pout == nil || pin == pout {
		return 0, unix.EINVAL
	}
	nonBlock := a.Uint(3)&unix.SPLICE_F_NONBLOCK != 0
	room, err := waitRoom(t, out, nonBlock || out.NonBlocking())
	if err != nil {
		return 0, err
	}
	buf := make(vfs.Bytes, min(a[2], uint64(room), spliceChunk))
	n := 0
	err = until(t, in, wait.Readable, nonBlock || in.NonBlocking(), func() (e error) {
		n, e = pin.Peek(buf)
		return e
	})
	if err != nil || n == 0 {
		return 0, err
	}
	put, err := out.Write(t, buf[:n])
	return uint64(put), err
}

// vmsplice copies: the pages that a program gives stay its own.
func vmsplice(t *task.Task, a Args) (uint64, error) {
	if a.Uint(3)&^spliceFlags != 0 {
		return 0, unix.EINVAL
	}
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if pipefs.Of(d) == nil {
		return 0, unix.EBADF
	}
	b, err := vector(t, a[1], a[2])()
	if err != nil || b.Len() == 0 {
		return 0, err
	}
	if !d.Writable() {
		n, err := d.Read(t, b)
		return uint64(n), err
	}
	room, err := waitRoom(t, d, a.Uint(3)&unix.SPLICE_F_NONBLOCK != 0 || d.NonBlocking())
	if err != nil {
		return 0, err
	}
	n, err := d.Write(t, vfs.Slice(b, 0, room))
	return uint64(n), err
}
