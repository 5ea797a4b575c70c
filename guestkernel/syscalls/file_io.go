package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"read": read, "write": write, "readv": readv, "writev": writev,
		"pread64": pread, "pwrite64": pwrite, "preadv": preadv, "pwritev": pwritev, "preadv2": preadv2, "pwritev2": pwritev2,
		"lseek": lseek, "sendfile": sendfile, "copy_file_range": copyFileRange,
		"fsync": fsync, "fdatasync": fsync, "syncfs": fsync, "sync": syncAll, "sync_file_range": syncFileRange, "fadvise64": fadvise, "readahead": readahead,
		"truncate": truncate, "ftruncate": ftruncate, "fallocate": fallocate,
	})
}

// le is the byte order of both architectures.
var le = binary.LittleEndian

// maxTransfer is MAX_RW_COUNT.
const maxTransfer = 1<<31 - vfs.PageSize

// userBuffer answers n bytes of user memory at addr, cut to what one transfer moves.
func userBuffer(t *task.Task, addr, n uint64) (vfs.Buffer, error) {
	if addr > mm.UserTop || n > mm.UserTop-addr {
		return nil, unix.EFAULT
	}
	return t.Buffer(addr, int(min(n, maxTransfer))), nil
}

// transfer runs op on a descriptor of which the access mode is checked before the buffer is made.
func transfer(t *task.Task, fd int, write bool, buffer func() (vfs.Buffer, error), op func(*vfs.Description, vfs.Buffer) (int, error)) (uint64, error) {
	d, err := get(t, fd)
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if write && !d.Writable() || !write && !d.Readable() {
		return 0, unix.EBADF
	}
	b, err := buffer()
	if err != nil {
		return 0, err
	}
	n, err := op(d, b)
	return uint64(n), err
}

func plain(t *task.Task, addr, n uint64) func() (vfs.Buffer, error) {
	return func() (vfs.Buffer, error) { return userBuffer(t, addr, n) }
}

func vector(t *task.Task, addr, count uint64) func() (vfs.Buffer, error) {
	return func() (vfs.Buffer, error) {
		if count > 1024 {
			return nil, unix.EINVAL
		}
		return t.VecBuffer(addr, int(count))
	}
}

func read(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	n := 0
	if !d.Readable() {
		err = unix.EBADF
	} else if b, fault := userBuffer(t, a[1], a[2]); fault != nil {
		err = fault
	} else {
		n, err = d.Read(t, b)
	}
	d.Unref()
	return uint64(n), err
}

func write(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	n := 0
	if !d.Writable() {
		err = unix.EBADF
	} else if b, fault := userBuffer(t, a[1], a[2]); fault != nil {
		err = fault
	} else {
		n, err = d.Write(t, b)
	}
	d.Unref()
	return uint64(n), err
}

func readv(t *task.Task, a Args) (uint64, error) {
	return transfer(t, a.Int(0), false, vector(t, a[1], a[2]), func(d *vfs.Description, b vfs.Buffer) (int, error) { return d.Read(t, b) })
}

func writev(t *task.Task, a Args) (uint64, error) {
	return transfer(t, a.Int(0), true, vector(t, a[1], a[2]), func(d *vfs.Description, b vfs.Buffer) (int, error) { return d.Write(t, b) })
}

func readAt(t *task.Task, fd int, buffer func() (vfs.Buffer, error), pos int64) (uint64, error) {
	return at(t, fd, false, buffer, pos, func(d *vfs.Description, b vfs.Buffer) (int, error) { return d.ReadAt(t, b, pos) })
}

func writeAt(t *task.Task, fd int, buffer func() (vfs.Buffer, error), pos int64) (uint64, error) {
	return at(t, fd, true, buffer, pos, func(d *vfs.Description, b vfs.Buffer) (int, error) { return d.WriteAt(t, b, pos) })
}

// at is transfer for the calls with a position: those are refused on streams first.
func at(t *task.Task, fd int, write bool, buffer func() (vfs.Buffer, error), pos int64, op func(*vfs.Description, vfs.Buffer) (int, error)) (uint64, error) {
	if pos < 0 {
		return 0, unix.EINVAL
	}
	d, err := get(t, fd)
	if err != nil {
		return 0, err
	}
	stream := d.File().Stream()
	d.Unref()
	if stream {
		return 0, unix.ESPIPE
	}
	return transfer(t, fd, write, buffer, op)
}

func pread(t *task.Task, a Args) (uint64, error) {
	return readAt(t, a.Int(0), plain(t, a[1], a[2]), a.Int64(3))
}

func pwrite(t *task.Task, a Args) (uint64, error) {
	return writeAt(t, a.Int(0), plain(t, a[1], a[2]), a.Int64(3))
}

// The position of preadv and its kin is in the low half on 64-bit machines; the high half is ignored.
func preadv(t *task.Task, a Args) (uint64, error) {
	return readAt(t, a.Int(0), vector(t, a[1], a[2]), a.Int64(3))
}

func pwritev(t *task.Task, a Args) (uint64, error) {
	return writeAt(t, a.Int(0), vector(t, a[1], a[2]), a.Int64(3))
}

// rwFlags are the flags of preadv2 that change nothing here: data is always in memory and always durable as far as it can be.
const rwFlags = unix.RWF_HIPRI | unix.RWF_DSYNC | unix.RWF_SYNC

func preadv2(t *task.Task, a Args) (uint64, error) {
	if a[5]&^rwFlags != 0 {
		return 0, unix.EOPNOTSUPP
	}
	if a.Int64(3) == -1 {
		return readv(t, a)
	}
	return preadv(t, a)
}

func pwritev2(t *task.Task, a Args) (uint64, error) {
	if a[5]&^(rwFlags|unix.RWF_APPEND) != 0 {
		return 0, unix.EOPNOTSUPP
	}
	if a[5]&unix.RWF_APPEND == 0 {
		if a.Int64(3) == -1 {
			return writev(t, a)
		}
		return pwritev(t, a)
	}
	if a.Int64(3) < -1 {
		return 0, unix.EINVAL
	}
	return transfer(t, a.Int(0), true, vector(t, a[1], a[2]), func(d *vfs.Description, b vfs.Buffer) (int, error) {
		if d.File().Stream() {
			return d.Write(t, b)
		}
		n, err := d.Appending().WriteAt(t, b, 0)
		if err == nil && a.Int64(3) == -1 {
			_, err = d.Seek(t, 0, unix.SEEK_END)
		}
		return n, err
	})
}

func lseek(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	pos, err := d.Seek(t, a.Int64(1), a.Int(2))
	d.Unref()
	return uint64(pos), err
}

// copyThrough copies up to n bytes with read and write through a kernel buffer. Bytes that could not be written are given back with undo.
func copyThrough(n uint64, read func(vfs.Bytes) (int, error), write func(vfs.Bytes) (int, error), undo func(int)) (uint64, error) {
	buf := make(vfs.Bytes, min(n, 64<<10))
	done := uint64(0)
	for done < n {
		got, err := read(buf[:min(uint64(len(buf)), n-done)])
		if err != nil {
			if done > 0 {
				err = nil
			}
			return done, err
		}
		if got == 0 {
			break
		}
		put, err := write(buf[:got])
		done += uint64(put)
		if put < got {
			undo(got - put)
			if done > 0 {
				err = nil
			}
			return done, err
		}
	}
	return done, nil
}

func sendfile(t *task.Task, a Args) (uint64, error) {
	in, err := get(t, a.Int(1))
	if err != nil {
		return 0, err
	}
	defer in.Unref()
	if !in.Readable() {
		return 0, unix.EBADF
	}
	var pos int64
	if a[2] != 0 {
		var b [8]byte
		if err := t.CopyInUser(a[2], b[:]); err != nil {
			return 0, err
		}
		if pos = int64(le.Uint64(b[:])); pos < 0 {
			return 0, unix.EINVAL
		}
		if in.File().Stream() {
			return 0, unix.ESPIPE
		}
	}
	out, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer out.Unref()
	if !out.Writable() {
		return 0, unix.EBADF
	}
	if out.Flags()&unix.O_APPEND != 0 || in.Inode().Attributes().IsDir() || in.File().Stream() && a[2] == 0 {
		return 0, unix.EINVAL
	}
	if a[3] > 1<<63-1 {
		return 0, unix.EINVAL
	}
	n := min(a[3], maxTransfer)
	put := func(b vfs.Bytes) (int, error) { return out.Write(t, b) }
	if a[2] == 0 {
		return copyThrough(n, func(b vfs.Bytes) (int, error) { return in.Read(t, b) }, put,
			func(n int) { _, _ = in.Seek(t, int64(-n), unix.SEEK_CUR) })
	}
	done, err := copyThrough(n, func(b vfs.Bytes) (int, error) {
		n, err := in.ReadAt(t, b, pos)
		pos += int64(n)
		return n, err
	}, put, func(n int) { pos -= int64(n) })
	if err != nil {
		return 0, err
	}
	var b [8]byte
	le.PutUint64(b[:], uint64(pos))
	return done, t.CopyOutUser(a[2], b[:])
}

// position is an offset argument of copy_file_range: a place in user memory, or the description's own position.
type position struct {
	d    *vfs.Description
	addr uint64
	at   int64
}

func (p *position) load(t *task.Task) (err error) {
	if p.addr == 0 {
		p.at, err = p.d.Seek(t, 0, unix.SEEK_CUR)
		return err
	}
	var b [8]byte
	err = t.CopyInUser(p.addr, b[:])
	p.at = int64(le.Uint64(b[:]))
	return err
}

func (p *position) store(t *task.Task) error {
	if p.addr == 0 {
		_, err := p.d.Seek(t, p.at, unix.SEEK_SET)
		return err
	}
	var b [8]byte
	le.PutUint64(b[:], uint64(p.at))
	return t.CopyOutUser(p.addr, b[:])
}

func copyFileRange(t *task.Task, a Args) (uint64, error) {
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
	if a.Uint(5) != 0 {
		return 0, unix.EINVAL
	}
	for _, d := range []*vfs.Description{in, out} {
		switch d.Inode().Attributes().Type() {
		case unix.S_IFDIR:
			return 0, unix.EISDIR
		case unix.S_IFREG:
		default:
			return 0, unix.EINVAL
		}
	}
	if !in.Readable() || !out.Writable() || out.Flags()&unix.O_APPEND != 0 {
		return 0, unix.EBADF
	}
	from, to := position{d: in, addr: a[1]}, position{d: out, addr: a[3]}
	if err := from.load(t); err != nil {
		return 0, err
	}
	if err := to.load(t); err != nil {
		return 0, err
	}
	n := int64(min(a[4], maxTransfer))
	if from.at < 0 || to.at < 0 {
		return 0, unix.EINVAL
	}
	if from.at+n < from.at || to.at+n < to.at {
		return 0, unix.EOVERFLOW
	}
	size, _ := in.Inode().Size()
	n = min(n, max(0, size-from.at))
	if in.Inode() == out.Inode() && from.at < to.at+n && to.at < from.at+n {
		return 0, unix.EINVAL
	}
	done, err := copyThrough(uint64(n), func(b vfs.Bytes) (int, error) {
		n, err := in.ReadAt(t, b, from.at)
		from.at += int64(n)
		return n, err
	}, func(b vfs.Bytes) (int, error) {
		n, err := out.WriteAt(t, b, to.at)
		to.at += int64(n)
		return n, err
	}, func(n int) { from.at -= int64(n) })
	if err != nil {
		return 0, err
	}
	if err := from.store(t); err != nil {
		return 0, err
	}
	return done, to.store(t)
}

// fsync has nothing to do for files in memory beyond checking the descriptor; special files do not support it.
func fsync(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	switch d.Inode().Attributes().Type() {
	case unix.S_IFREG, unix.S_IFDIR:
		return 0, nil
	}
	return 0, unix.EINVAL
}

// syncFileRange checks its arguments; there is nothing to write out.
func syncFileRange(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	const known = 7 // SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER
	if off, n := a.Int64(1), a.Int64(2); a.Uint(3)&^known != 0 || off < 0 || n < 0 || off+n < 0 {
		return 0, unix.EINVAL
	}
	switch d.Inode().Attributes().Type() {
	case unix.S_IFREG, unix.S_IFBLK, unix.S_IFDIR, unix.S_IFLNK:
		return 0, nil
	}
	return 0, unix.ESPIPE
}

func syncAll(*task.Task, Args) (uint64, error) { return 0, nil }

func fadvise(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if d.Inode().Attributes().Type() == unix.S_IFIFO {
		return 0, unix.ESPIPE
	}
	if a.Int64(2) < 0 || a.Int(3) < unix.FADV_NORMAL || a.Int(3) > unix.FADV_NOREUSE {
		return 0, unix.EINVAL
	}
	return 0, nil
}

func readahead(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if !d.Readable() {
		return 0, unix.EBADF
	}
	if d.Inode().Attributes().Type() != unix.S_IFREG {
		return 0, unix.EINVAL
	}
	return 0, nil
}

func truncate(t *task.Task, a Args) (uint64, error) {
	if a.Int64(1) < 0 {
		return 0, unix.EINVAL
	}
	p, err := lookup(t, unix.AT_FDCWD, a[0], vfs.Follow)
	if err != nil {
		return 0, err
	}
	return 0, vfs.Truncate(t, p, a.Int64(1))
}

func ftruncate(t *task.Task, a Args) (uint64, error) {
	if a.Int64(1) < 0 {
		return 0, unix.EINVAL
	}
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return 0, d.Truncate(t, a.Int64(1))
}

func fallocate(t *task.Task, a Args) (uint64, error) {
	d, err := get(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return 0, d.Allocate(t, a.Uint(1), a.Int64(2), a.Int64(3))
}
