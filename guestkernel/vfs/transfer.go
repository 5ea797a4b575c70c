package vfs

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// maxTransfer is Linux's MAX_RW_COUNT: no read or write moves more.
const maxTransfer = 1<<31 - PageSize

// Read is read(2) and readv(2) on a description: at its position, blocking unless O_NONBLOCK.
func (d *Description) Read(c Caller, dst Buffer) (int, error) {
	n, err := d.read(c, dst)
	return d.transferred(unix.IN_ACCESS, n, err)
}

func (d *Description) read(c Caller, dst Buffer) (int, error) {
	if !d.Readable() {
		return 0, unix.EBADF
	}
	dst = Slice(dst, 0, maxTransfer)
	if s, ok := d.file.(Conversation); ok {
		return s.Receive(c, d, dst)
	}
	n, err := d.readOnce(c, dst)
	if err == wait.ErrWouldBlock {
		return d.block(c, wait.Readable, 0, func() (int, error) { return d.readOnce(c, dst) })
	}
	return settle(n, err)
}

// readOnce reads at the position, which nobody else uses meanwhile.
func (d *Description) readOnce(c Caller, dst Buffer) (int, error) {
	if d.file.Stream() {
		var none int64
		return d.file.Read(c, d, dst, &none)
	}
	d.mu.Lock()
	n, err := 0, d.inRange(d.offset, dst)
	if err == nil {
		n, err = d.file.Read(c, d, dst, &d.offset)
	}
	d.mu.Unlock()
	return n, err
}

// Write is write(2) and writev(2). A broken pipe raises SIGPIPE. A blocking write to a stream goes on until everything is written.
func (d *Description) Write(c Caller, src Buffer) (int, error) {
	n, err := d.write(c, src)
	return d.transferred(unix.IN_MODIFY, n, err)
}

func (d *Description) write(c Caller, src Buffer) (int, error) {
	if !d.Writable() {
		return 0, unix.EBADF
	}
	src = Slice(src, 0, maxTransfer)
	if s, ok := d.file.(Conversation); ok {
		return s.Send(c, d, src)
	}
	done, err := d.writeOnce(c, src)
	if err == wait.ErrWouldBlock || err == nil && done > 0 && done < src.Len() && d.file.Stream() {
		done, err = d.block(c, wait.Writable, done, func() (int, error) {
			n, err := d.writeOnce(c, Slice(src, done, src.Len()-done))
			done += n
			if err == nil && n > 0 && done < src.Len() {
				err = wait.ErrWouldBlock
			}
			return done, err
		})
	}
	if err == unix.EPIPE {
		c.Signal(unix.SIGPIPE)
	}
	return settle(done, err)
}

func (d *Description) writeOnce(c Caller, src Buffer) (int, error) {
	if d.file.Stream() {
		var none int64
		return d.file.Write(c, d, src, &none)
	}
	d.mu.Lock()
	n, err := 0, d.inRange(d.offset, src)
	if err == nil {
		n, err = d.file.Write(c, d, src, &d.offset)
	}
	d.mu.Unlock()
	return n, err
}

// ReadAt is pread(2).
func (d *Description) ReadAt(c Caller, dst Buffer, pos int64) (int, error) {
	n, err := d.readAt(c, dst, pos)
	return d.transferred(unix.IN_ACCESS, n, err)
}

func (d *Description) readAt(c Caller, dst Buffer, pos int64) (int, error) {
	if err := d.positional(pos); err != nil {
		return 0, err
	}
	if !d.Readable() {
		return 0, unix.EBADF
	}
	if err := d.inRange(pos, dst); err != nil {
		return 0, err
	}
	dst = Slice(dst, 0, maxTransfer)
	n, err := d.file.Read(c, d, dst, &pos)
	if err == wait.ErrWouldBlock {
		return d.block(c, wait.Readable, 0, func() (int, error) { return d.file.Read(c, d, dst, &pos) })
	}
	return settle(n, err)
}

// WriteAt is pwrite(2); with O_APPEND it appends, as Linux does.
func (d *Description) WriteAt(c Caller, src Buffer, pos int64) (int, error) {
	n, err := d.writeAt(c, src, pos)
	return d.transferred(unix.IN_MODIFY, n, err)
}

func (d *Description) writeAt(c Caller, src Buffer, pos int64) (int, error) {
	if err := d.positional(pos); err != nil {
		return 0, err
	}
	if !d.Writable() {
		return 0, unix.EBADF
	}
	if err := d.inRange(pos, src); err != nil {
		return 0, err
	}
	src = Slice(src, 0, maxTransfer)
	n, err := d.file.Write(c, d, src, &pos)
	if err == wait.ErrWouldBlock {
		return d.block(c, wait.Writable, 0, func() (int, error) { return d.file.Write(c, d, src, &pos) })
	}
	return settle(n, err)
}

// Appending answers a stand-in for d that writes at the end whatever d's flags say (RWF_APPEND). It is good for one transfer and holds no
// reference of its own.
func (d *Description) Appending() *Description {
	a := &Description{path: d.path, inode: d.inode, file: d.file}
	a.flags.Store(d.flags.Load() | unix.O_APPEND)
	return a
}

func (d *Description) positional(pos int64) error {
	if pos < 0 {
		return unix.EINVAL
	}
	if d.file != nil && d.file.Stream() {
		return unix.ESPIPE
	}
	return nil
}

// transferred reports an event of the file when bytes were moved.
func (d *Description) transferred(event uint32, n int, err error) (int, error) {
	if n > 0 {
		d.path.Dentry.happened(event)
	}
	return n, err
}

// inRange answers EINVAL for a transfer beyond the largest offset (rw_verify_area).
func (d *Description) inRange(pos int64, b Buffer) error {
	if pos+int64(b.Len()) < 0 {
		return unix.EINVAL
	}
	return nil
}

// settle makes a transfer's result what a program sees: bytes that were moved win over an error.
func settle(n int, err error) (int, error) {
	if n > 0 {
		return n, nil
	}
	return n, err
}

// block goes on with a transfer that would block after done bytes: it calls op, which answers the total, when the file may be ready, or ends it
// for O_NONBLOCK.
func (d *Description) block(c Caller, mask wait.Mask, done int, op func() (int, error)) (int, error) {
	if d.NonBlocking() {
		if mask&wait.Out != 0 {
			d.sawFull()
		}
		if done > 0 {
			return done, nil
		}
		return 0, unix.EAGAIN
	}
	n := done
	err := wait.Block(c, d.file, mask, time.Time{}, func() (e error) {
		n, e = op()
		return e
	})
	if n > 0 && err != unix.EPIPE {
		err = nil
	}
	return n, err
}

// Seek is lseek(2).
func (d *Description) Seek(c Caller, offset int64, whence int) (int64, error) {
	if d.file == nil {
		return 0, unix.EBADF
	}
	if whence < 0 || whence > unix.SEEK_HOLE {
		return 0, unix.EINVAL
	}
	d.mu.Lock()
	pos, err := d.file.Seek(c, d, d.offset, offset, whence)
	if err == nil {
		d.offset = pos
	}
	d.mu.Unlock()
	return pos, err
}

// ReadDir is getdents64(2) before the entries are put into user memory.
func (d *Description) ReadDir(c Caller, emit func(Dirent) bool) error {
	if !d.Readable() {
		return unix.EBADF
	}
	a := d.inode.Attributes()
	if !a.IsDir() {
		return unix.ENOTDIR
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.Nlink() == 0 {
		return unix.ENOENT
	}
	err := d.file.ReadDir(c, d, &d.offset, emit)
	if d.flags.Load()&unix.O_NOATIME == 0 {
		a.Accessed()
	}
	if err == nil {
		d.path.Dentry.happened(unix.IN_ACCESS)
	}
	return err
}

// Ioctl is ioctl(2) for what the file itself knows; FIONBIO and the like are the caller's. A request that would block waits whatever
// O_NONBLOCK says.
func (d *Description) Ioctl(c Caller, cmd uint32, arg uint64) (uint64, error) {
	if d.file == nil {
		return 0, unix.EBADF
	}
	n, err := d.file.Ioctl(c, d, cmd, arg)
	if err == wait.ErrWouldBlock {
		err = wait.Block(c, d.file, wait.Readable|wait.Writable, time.Time{}, func() (e error) {
			n, e = d.file.Ioctl(c, d, cmd, arg)
			return e
		})
	}
	return n, err
}

// Mappable answers what mmap of this description maps; nil is anonymous memory.
func (d *Description) Mappable(c Caller) (Mappable, error) {
	if d.file == nil {
		return nil, unix.EBADF
	}
	return d.file.Mappable(c, d)
}
