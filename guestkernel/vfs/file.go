package vfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// File is what an open file does. Methods never block: what cannot go on answers [wait.ErrWouldBlock], and the generic layer
// ([Description.Read] and the like) waits on the file as a [wait.Source]. Concrete files embed [StreamFile] or [SeekableFile] for the
// answers of what they do not have.
type File interface {
	// Register and Unregister are the queue that readiness changes are told on.
	wait.Source
	// Readiness answers the events that are true now.
	Readiness(d *Description) wait.Mask

	// Read and Write transfer at *pos and move it. Stream files ignore pos. A short count with a nil error is allowed; an error with a
	// count above zero is dropped by the generic layer. Write finds O_APPEND in d.Flags.
	Read(c Caller, d *Description, dst Buffer, pos *int64) (int, error)
	Write(c Caller, d *Description, src Buffer, pos *int64) (int, error)
	// Seek answers the new position; the generic layer stores it.
	Seek(c Caller, d *Description, pos, offset int64, whence int) (int64, error)
	// ReadDir emits entries from *pos on and moves it past each entry that emit took.
	ReadDir(c Caller, d *Description, pos *int64, emit func(Dirent) bool) error
	Ioctl(c Caller, d *Description, cmd uint32, arg uint64) (uint64, error)
	// Mappable answers what mmap maps; nil with a nil error is anonymous memory (/dev/zero).
	Mappable(c Caller, d *Description) (Mappable, error)
	// Allocate is fallocate(2).
	Allocate(c Caller, d *Description, mode uint32, offset, length int64) error
	// Stream reports that the file has no position: pread and lseek fail with ESPIPE.
	Stream() bool
	// Release is called once, when the last descriptor and mapping are gone.
	Release(d *Description)
}

// Conversation is a file whose transfers wait by rules of its own, like a socket with its timeouts. [Description.Read] and
// [Description.Write] leave waiting, and SIGPIPE, to it.
type Conversation interface {
	File
	// Receive and Send are read(2) and write(2): they may block in c.Sleep.
	Receive(c Caller, d *Description, dst Buffer) (int, error)
	Send(c Caller, d *Description, src Buffer) (int, error)
}

// Dirent is a directory entry as ReadDir emits it.
type Dirent struct {
	Name string
	Ino  uint64
	Type uint8 // DT_*
	Next int64 // position of the entry behind this one: d_off
}

// StreamFile holds the answers of a file without position.
type StreamFile struct{ fileDefaults }

// Stream reports true.
func (StreamFile) Stream() bool { return true }

// Seek answers ESPIPE.
func (StreamFile) Seek(Caller, *Description, int64, int64, int) (int64, error) {
	return 0, unix.ESPIPE
}

// SeekableFile holds the answers of a file with a position; lseek moves it within the inode's size.
type SeekableFile struct{ fileDefaults }

// Stream reports false.
func (SeekableFile) Stream() bool { return false }

// Seek moves the position as generic_file_llseek does.
func (SeekableFile) Seek(_ Caller, d *Description, pos, offset int64, whence int) (int64, error) {
	size, _ := d.Inode().Size()
	return SeekIn(size, pos, offset, whence)
}

// SeekIn computes a new position in a file of size bytes without holes: SEEK_DATA is any place before the end, SEEK_HOLE the end.
func SeekIn(size, pos, offset int64, whence int) (int64, error) {
	var base int64
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		base = pos
	case unix.SEEK_END:
		base = size
	case unix.SEEK_DATA, unix.SEEK_HOLE:
		if offset < 0 || offset >= size {
			return 0, unix.ENXIO
		}
		if whence == unix.SEEK_HOLE {
			return size, nil
		}
		return offset, nil
	default:
		return 0, unix.EINVAL
	}
	if base+offset < 0 { // or an overflow
		return 0, unix.EINVAL
	}
	return base + offset, nil
}

type fileDefaults struct{ wait.Always }

func (fileDefaults) Readiness(*Description) wait.Mask {
	return wait.In | wait.Out | wait.RdNorm | wait.WrNorm
}
func (fileDefaults) Read(Caller, *Description, Buffer, *int64) (int, error) { return 0, unix.EINVAL }
func (fileDefaults) Write(Caller, *Description, Buffer, *int64) (int, error) {
	return 0, unix.EINVAL
}
func (fileDefaults) ReadDir(Caller, *Description, *int64, func(Dirent) bool) error {
	return unix.ENOTDIR
}
func (fileDefaults) Ioctl(Caller, *Description, uint32, uint64) (uint64, error) {
	return 0, unix.ENOTTY
}
func (fileDefaults) Mappable(Caller, *Description) (Mappable, error) { return nil, unix.ENODEV }
func (fileDefaults) Allocate(Caller, *Description, uint32, int64, int64) error {
	return unix.ENODEV
}
func (fileDefaults) Release(*Description) {}

// Status flags that F_SETFL may change, and those that F_GETFL reports beside the access mode.
const (
	settableFlags = unix.O_APPEND | unix.O_NONBLOCK | unix.O_DIRECT | unix.O_NOATIME
	creationFlags = unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_CLOEXEC
)

// Description is an open file description: what descriptors made by dup and fork share.
type Description struct {
	refs  atomic.Int64
	flags atomic.Uint32
	path  Path
	inode Inode
	file  File

	mu     sync.Mutex // serialises operations that use the position
	offset int64

	async   atomic.Pointer[asynchrony]
	flocked atomic.Bool // a flock(2) lock may be held
	writer  bool        // counted among the inode's writers
	pinned  bool        // counted among the writers of mount and filesystem

	closeMu sync.Mutex
	onClose map[any]func()
}

// NewDescription answers a description with one reference over file, counted as open on path's inode and mount. It is for files that are
// not made by opening a path too (pipes, eventfd): their path has a dentry without a parent (see [Anonymous]).
func NewDescription(path Path, flags uint32, file File) (*Description, error) {
	d, err := newDescription(path, flags)
	if err == nil {
		d.file = file
	}
	return d, err
}

func newDescription(path Path, flags uint32) (*Description, error) {
	if err := acquire(path.Dentry.inode); err != nil {
		return nil, err
	}
	path.Mount.hold()
	d := &Description{path: path, inode: path.Dentry.inode}
	d.refs.Store(1)
	d.flags.Store(flags)
	return d, nil
}

// Ref adds a reference.
func (d *Description) Ref() { d.refs.Add(1) }

// tryRef takes a reference unless the last one has been dropped.
func (d *Description) tryRef() bool {
	for {
		n := d.refs.Load()
		if n <= 0 {
			return false
		}
		if d.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Unref drops a reference; the last one closes the file.
func (d *Description) Unref() {
	if n := d.refs.Add(-1); n <= 0 {
		d.close(n)
	}
}

func (d *Description) close(n int64) {
	if n < 0 {
		panic("vfs: description released twice")
	}
	d.closeMu.Lock()
	hooks := d.onClose
	d.onClose = nil
	d.closeMu.Unlock()
	for _, hook := range hooks {
		hook()
	}
	d.unlockAll()
	if d.file != nil {
		d.SetAsync(0, false)
		if d.Writable() {
			d.path.Dentry.happened(unix.IN_CLOSE_WRITE)
		} else {
			d.path.Dentry.happened(unix.IN_CLOSE_NOWRITE)
		}
		d.file.Release(d)
	}
	if d.writer {
		d.inode.Attributes().putWrite()
	}
	if d.pinned {
		d.path.Mount.writers.Add(-1)
		d.path.Mount.sb.writers.Add(-1)
	}
	release(d.inode)
	d.path.Mount.drop()
}

// Refs is the number of references: descriptors, mappings, messages, and calls under way.
func (d *Description) Refs() int64 { return d.refs.Load() }

// OnClose has hook called when the description is about to close: how epoll forgets files. A nil hook takes the one of key back.
func (d *Description) OnClose(key any, hook func()) {
	d.closeMu.Lock()
	defer d.closeMu.Unlock()
	if hook == nil {
		delete(d.onClose, key)
		return
	}
	if d.onClose == nil {
		d.onClose = make(map[any]func())
	}
	d.onClose[key] = hook
}

// Inode is the object that the description is open on.
func (d *Description) Inode() Inode { return d.inode }

// Path is where the description was opened.
func (d *Description) Path() Path { return d.path }

// File is the open file's operations: nil for O_PATH.
func (d *Description) File() File { return d.file }

// Flags are the access mode and status flags (O_*).
func (d *Description) Flags() uint32 { return d.flags.Load() }

// StatusFlags is what F_GETFL answers.
func (d *Description) StatusFlags() uint32 { return d.flags.Load() &^ creationFlags }

// SetStatusFlags is F_SETFL, but for O_ASYNC ([Description.SetAsync]).
func (d *Description) SetStatusFlags(c Caller, flags uint32) error {
	old := d.flags.Load()
	if flags&unix.O_NOATIME != 0 && old&unix.O_NOATIME == 0 && !c.Creds().owns(d.inode.Attributes()) {
		return unix.EPERM
	}
	for {
		old = d.flags.Load()
		if d.flags.CompareAndSwap(old, old&^settableFlags|flags&settableFlags) {
			return nil
		}
	}
}

// Poller is a file that is pollable, or not, though its kind says otherwise.
type Poller interface{ Pollable() bool }

// Pollable says whether readiness means anything: epoll refuses other files.
func (d *Description) Pollable() bool {
	if p, ok := d.file.(Poller); ok {
		return p.Pollable()
	}
	kind := d.inode.Attributes().Type()
	return kind != unix.S_IFREG && kind != unix.S_IFDIR
}

// PathOnly reports O_PATH.
func (d *Description) PathOnly() bool { return d.flags.Load()&unix.O_PATH != 0 }

// Readable and Writable report what the access mode allows.
func (d *Description) Readable() bool {
	f := d.flags.Load()
	return f&unix.O_PATH == 0 && f&unix.O_ACCMODE != unix.O_WRONLY && f&unix.O_ACCMODE != 3
}

// Writable reports whether the access mode allows writing.
func (d *Description) Writable() bool {
	f := d.flags.Load()
	return f&unix.O_PATH == 0 && (f&unix.O_ACCMODE == unix.O_WRONLY || f&unix.O_ACCMODE == unix.O_RDWR)
}

// NonBlocking reports O_NONBLOCK.
func (d *Description) NonBlocking() bool { return d.flags.Load()&unix.O_NONBLOCK != 0 }

// Position is the description's offset, for /proc/PID/fdinfo. It is 0 while an operation uses the position, which may be the one that asks.
func (d *Description) Position() int64 {
	if !d.mu.TryLock() {
		return 0
	}
	defer d.mu.Unlock()
	return d.offset
}

// Readiness answers the events of mask that are true now; errors and hang-ups are always reported.
func (d *Description) Readiness(mask wait.Mask) wait.Mask {
	if d.file == nil {
		return wait.Nval
	}
	ready := d.file.Readiness(d)
	if ready&wait.Out == 0 && mask&wait.Out != 0 {
		d.sawFull()
	}
	return ready & (mask | wait.Err | wait.Hup)
}
