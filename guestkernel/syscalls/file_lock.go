package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

// flockSize is the size in bytes of struct flock {short l_type, l_whence; long l_start, l_len; pid_t l_pid}, the same on both architectures.
const flockSize = 32

// recordLock serves the record-lock commands of fcntl(2), those of processes and those of open file descriptions.
func recordLock(t *task.Task, d *vfs.Description, cmd int, addr uint64) error {
	var b [flockSize]byte
	if err := t.CopyInUser(addr, b[:]); err != nil {
		return err
	}
	kind := int16(le.Uint16(b[:]))
	ofd := cmd == unix.F_OFD_GETLK || cmd == unix.F_OFD_SETLK || cmd == unix.F_OFD_SETLKW
	if ofd && le.Uint32(b[24:]) != 0 {
		return unix.EINVAL
	}
	start, end, err := lockRange(t, d, int16(le.Uint16(b[2:])), int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:])))
	if err != nil {
		return err
	}
	l := vfs.RecordLock{Exclusive: kind == unix.F_WRLCK, Start: start, End: end}
	if cmd == unix.F_GETLK || cmd == unix.F_OFD_GETLK {
		if kind != unix.F_RDLCK && kind != unix.F_WRLCK {
			return unix.EINVAL
		}
		found := d.TestLock(t, l, ofd)
		if found == nil {
			le.PutUint16(b[:], unix.F_UNLCK)
			return t.CopyOutUser(addr, b[:])
		}
		kind = unix.F_RDLCK
		if found.Exclusive {
			kind = unix.F_WRLCK
		}
		length := found.End - found.Start + 1
		if found.End == 1<<63-1 {
			length = 0
		}
		le.PutUint16(b[:], uint16(kind))
		le.PutUint16(b[2:], unix.SEEK_SET)
		le.PutUint64(b[8:], uint64(found.Start))
		le.PutUint64(b[16:], uint64(length))
		le.PutUint32(b[24:], uint32(int32(vfs.LocalID(t, found.PID))))
		return t.CopyOutUser(addr, b[:])
	}
	switch kind {
	case unix.F_UNLCK:
		d.Unlock(t, start, end, ofd)
		return nil
	case unix.F_RDLCK:
		if !d.Readable() {
			return unix.EBADF
		}
	case unix.F_WRLCK:
		if !d.Writable() {
			return unix.EBADF
		}
	default:
		return unix.EINVAL
	}
	return d.Lock(t, l, ofd, cmd == unix.F_SETLKW || cmd == unix.F_OFD_SETLKW)
}

// lockRange turns whence, start and length into the first and last byte (flock_to_posix_lock).
func lockRange(t *task.Task, d *vfs.Description, whence int16, start, length int64) (first, last int64, err error) {
	var base int64
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		base = d.Position()
	case unix.SEEK_END:
		base, _ = d.Inode().Size()
	default:
		return 0, 0, unix.EINVAL
	}
	if start > 0 && base+start < base {
		return 0, 0, unix.EOVERFLOW
	}
	start += base
	if start < 0 {
		return 0, 0, unix.EINVAL
	}
	switch {
	case length > 0:
		if last = start + length - 1; last < start {
			return 0, 0, unix.EOVERFLOW
		}
	case length < 0:
		if start+length < 0 {
			return 0, 0, unix.EINVAL
		}
		start, last = start+length, start-1
	default:
		last = 1<<63 - 1
	}
	return start, last, nil
}
