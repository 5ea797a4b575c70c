package syscalls

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// integer are the types that fields of struct stat have on one architecture or the other.
type integer interface {
	~int32 | ~uint32 | ~int64 | ~uint64
}

// put stores v in a field whatever its type is on this architecture.
func put[T integer](field *T, v uint64) { *field = T(v) }

// statBytes lays out struct stat, of which the field order and sizes differ between the architectures: x/sys/unix has the right one.
// The view is sound because Stat_t has no pointers, and the answer lives in st, which the caller provides.
func statBytes(st *unix.Stat_t, s vfs.Stat) []byte {
	put(&st.Dev, s.Dev)
	put(&st.Ino, s.Ino)
	put(&st.Mode, uint64(s.Mode))
	put(&st.Nlink, uint64(s.Nlink))
	put(&st.Uid, uint64(s.UID))
	put(&st.Gid, uint64(s.GID))
	put(&st.Rdev, s.Rdev)
	put(&st.Size, uint64(s.Size))
	put(&st.Blksize, uint64(s.Blksize))
	put(&st.Blocks, uint64(s.Blocks))
	st.Atim, st.Mtim, st.Ctim = s.Atime, s.Mtime, s.Ctime
	return unsafe.Slice((*byte)(unsafe.Pointer(st)), unsafe.Sizeof(*st))
}

// Layout of struct epoll_event, whose data is not aligned on amd64: x/sys/unix calls its halves Fd and Pad.
const (
	epollEventSize  = int(unsafe.Sizeof(unix.EpollEvent{}))
	epollDataOffset = int(unsafe.Offsetof(unix.EpollEvent{}.Fd))
)
