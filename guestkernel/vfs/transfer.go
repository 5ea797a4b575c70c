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
	if !d.Readable() {
		return 0, unix.EBADF
	}
	dst = Slice(dst, 0, maxTransfer)
	return d.transfer(c, wait.Readable, func() (int, error) {
		return d.atPosition(func(pos *int64) (int, error) { return d.file.Read(c, d, dst, pos) })
	})
}

// Write is write(2) and writev(2). A broken pipe raises SIGPIPE.
func (d *Description) Write(c Caller, src Buffer) (int, error) {
	if !d.Writable() {
		return 0, unix.EBADF
	}
	src = Slice(src, 0, maxTransfer)
	done := 0
	n, err := d.transfer(c, wait.Writable, func() (int, error) {
		// A blocking write to a stream goes on until everything is written; each try reports what it added.
		for {
			n, err := d.atPosition(func(pos *int64) (int, error) {
				return d.file.Write(c, d, Slice(src, done, src.Len()-done), pos)
			})
			done += n
			switch {
			case err == wait.ErrWouldBlock && d.NonBlocking() && done > 0:
				return done, nil
			case err != nil:
				return done, err
			case done >= src.Len() || n == 0 || !d.file.Stream():
				return done, nil
			}
		}
	})
	if err == unix.EPIPE {
		c.Signal(unix.SIGPIPE)
	}
	return n, err
}

// ReadAt is pread(2).
func (d *Description) ReadAt(c Caller, dst Buffer, pos int64) (int, error) {
	if pos < 0 {
		return 0, unix.EINVAL
	}
	if d.file != nil && d.file.Stream() {
		return 0, unix.ESPIPE
	}
	if !d.Readable() {
		return 0, unix.EBADF
	}
	dst = Slice(dst, 0, maxTransfer)
	return d.transfer(c, wait.Readable, func() (int, error) { return d.file.Read(c, d, dst, &pos) })
}

// WriteAt is pwrite(2); with O_APPEND it appends, as Linux does.
func (d *Description) WriteAt(c Caller, src Buffer, pos int64) (int, error) {
	if pos < 0 {
		return 0, unix.EINVAL
	}
	if d.file != nil && d.file.Stream() {
		return 0, unix.ESPIPE
	}
	if !d.Writable() {
		return 0, unix.EBADF
	}
	src = Slice(src, 0, maxTransfer)
	return d.transfer(c, wait.Writable, func() (int, error) { return d.file.Write(c, d, src, &pos) })
}

// atPosition runs op on the description's position, alone if there is one.
func (d *Description) atPosition(op func(pos *int64) (int, error)) (int, error) {
	if d.file.Stream() {
		var none int64
		return op(&none)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return op(&d.offset)
}

// transfer runs op and waits while it would block. op answers the total so far; a total above zero wins over an error, and an
// interruption after some bytes is a short count.
func (d *Description) transfer(c Caller, mask wait.Mask, op func() (int, error)) (int, error) {
	n, err := op()
	if err == wait.ErrWouldBlock {
		if d.NonBlocking() {
			if n > 0 {
				return n, nil
			}
			return 0, unix.EAGAIN
		}
		err = wait.Block(c, d.file, mask, time.Time{}, func() (e error) {
			n, e = op()
			return e
		})
	}
	if n > 0 && err != nil {
		if err == unix.EPIPE {
			c.Signal(unix.SIGPIPE)
		}
		err = nil
	}
	return n, err
}

// Seek is lseek(2).
func (d *Description) Seek(c Caller, offset int64, whence int) (int64, error) {
	if d.file == nil {
		return 0, unix.EBADF
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	pos, err := d.file.Seek(c, d, d.offset, offset, whence)
	if err == nil {
		d.offset = pos
	}
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
