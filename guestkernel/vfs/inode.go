package vfs

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Inode is an object of a filesystem. Concrete inodes embed [Attrs] and one of the default sets ([NotDirectory], [ReadOnlyDirectory])
// and add what they can do.
//
// The directory operations are called with the superblock's tree lock held (for writing, except for Lookup and ReadDir which may run
// side by side), after the generic layer has checked permissions, name length, existence and kind. So a filesystem only stores.
type Inode interface {
	// Attributes are the attributes that the generic layer checks and changes.
	Attributes() *Attrs
	// Size answers the size and the allocated 512-byte blocks that stat(2) reports.
	Size() (bytes, blocks int64)
	// Open makes the operations of a new file description. Flags have been checked against permissions; O_TRUNC is done by the caller.
	Open(c Caller, d *Description) (File, error)
	// Truncate sets the size of a regular file.
	Truncate(c Caller, size int64) error
	// Readlink answers the target of a symbolic link.
	Readlink(c Caller) (string, error)
	// Destroy frees the contents: called once, when neither a link nor an open description is left.
	Destroy()

	// Lookup finds a directory entry: ENOENT when there is none.
	Lookup(name string) (Inode, error)
	// Create makes a regular file, directory, device node, fifo or socket, as the type in mode says; rdev is a device number (Mkdev).
	Create(c Caller, name string, mode uint32, rdev uint64) (Inode, error)
	// Symlink makes a symbolic link.
	Symlink(c Caller, name, target string) (Inode, error)
	// Link enters target, an inode of the same filesystem, under another name.
	Link(c Caller, name string, target Inode) error
	// Unlink removes the entry of a file that is not a directory.
	Unlink(c Caller, name string, target Inode) error
	// Rmdir removes an empty directory: ENOTEMPTY when it is not.
	Rmdir(c Caller, name string, target Inode) error
	// Rename moves source (here as name) into newDir as newName, replacing victim (nil: nothing there). With exchange the two change places.
	Rename(c Caller, name string, source Inode, newDir Inode, newName string, victim Inode, exchange bool) error
}

// MagicLink is a symbolic link that leads to an object and not to a name, like /proc/self/fd/0. Readlink answers the text only.
type MagicLink interface {
	Inode
	Jump(c Caller) (Path, error)
}

// Maker is a directory of a dynamic filesystem in which directories can be made all the same.
type Maker interface{ Makes() bool }

func makes(i Inode) bool {
	m, ok := i.(Maker)
	return ok && m.Makes()
}

// Modified tells the watchers of i that its contents have changed by themselves. Any goroutine, with any lock but the tree's.
func Modified(i Inode) { tell(i, unix.IN_MODIFY, 0, "") }

// Discard frees the contents of an inode of a filesystem that is no longer mounted.
func Discard(i Inode) {
	a := i.Attributes()
	a.mu.Lock()
	gone := !a.destroyed
	a.destroyed = true
	a.mu.Unlock()
	if gone {
		tell(i, unix.IN_UNMOUNT, 0, "")
		forget(i)
		i.Destroy()
	}
}

// Revalidator is an inode that may stop to exist by itself, like /proc/PID.
type Revalidator interface {
	Alive() bool
}

// Attrs are the attributes that all inodes have. The fields set at construction never change; the rest is under mu.
type Attrs struct {
	Dev  uint64 // device of the filesystem, in the encoding of stat(2)
	Ino  uint64
	Rdev uint64 // device nodes: what they stand for

	mu                         sync.Mutex
	mode, uid, gid, nlink      uint32
	atime, mtime, ctime, btime unix.Timespec
	refs                       int // open descriptions
	writers                    int // descriptions open for writing; below zero: programs running from the file
	destroyed                  bool
	nameable                   bool // made by O_TMPFILE without O_EXCL: may get its first name
	locks                      *flockState
	records                    *recordLocks
	watchers                   atomic.Pointer[watchSet]
	hasXattrs                  bool // never changes
	xattrs                     map[string][]byte
	xattrBytes                 int
}

// Init sets the attributes of a new inode: all times are now, nlink is 1 (2 for a directory).
func (a *Attrs) Init(dev, ino uint64, mode, uid, gid uint32) {
	now := Now()
	a.Dev, a.Ino = dev, ino
	a.mode, a.uid, a.gid = mode, uid, gid
	a.atime, a.mtime, a.ctime, a.btime = now, now, now, now
	a.nlink = 1
	if mode&unix.S_IFMT == unix.S_IFDIR {
		a.nlink = 2
	}
}

// Attributes answers a itself: it makes whatever embeds Attrs half an Inode.
func (a *Attrs) Attributes() *Attrs { return a }

// Owner answers mode (with the file type), uid and gid.
func (a *Attrs) Owner() (mode, uid, gid uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mode, a.uid, a.gid
}

// Mode is the mode with the file type.
func (a *Attrs) Mode() uint32 {
	a.mu.Lock()
	mode := a.mode
	a.mu.Unlock()
	return mode
}

// Type is the file type part of the mode (S_IFMT).
func (a *Attrs) Type() uint32 { return a.Mode() & unix.S_IFMT }

// IsDir reports whether this is a directory.
func (a *Attrs) IsDir() bool { return a.Type() == unix.S_IFDIR }

// Nlink is the link count.
func (a *Attrs) Nlink() uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nlink
}

// mayBeLinked says whether the file has a name, or may get its first.
func (a *Attrs) mayBeLinked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nlink > 0 || a.nameable
}

// AddLinks changes the link count by n and sets ctime.
func (a *Attrs) AddLinks(n int32) {
	now := Now()
	a.mu.Lock()
	a.nlink += uint32(n)
	a.nameable = false
	a.ctime = now
	a.mu.Unlock()
}

// ClearLinks sets the link count to zero, as for a removed directory.
func (a *Attrs) ClearLinks() {
	now := Now()
	a.mu.Lock()
	a.nlink = 0
	a.ctime = now
	a.mu.Unlock()
}

// Modified sets mtime and ctime to now.
func (a *Attrs) Modified() {
	now := Now()
	a.mu.Lock()
	a.mtime, a.ctime = now, now
	a.mu.Unlock()
}

// Changed sets ctime to now.
func (a *Attrs) Changed() {
	now := Now()
	a.mu.Lock()
	a.ctime = now
	a.mu.Unlock()
}

// Accessed sets atime to now under relatime rules (mount(8)): only when it is not newer than mtime or ctime, or a day old.
func (a *Attrs) Accessed() {
	now := Now()
	a.mu.Lock()
	if !newer(a.atime, a.mtime) || !newer(a.atime, a.ctime) || now.Sec-a.atime.Sec >= 24*60*60 {
		a.atime = now
	}
	a.mu.Unlock()
}

func newer(a, b unix.Timespec) bool { return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec }

// SetOwner sets permissions, uid and gid without any check or change of times, as an archive recorded them.
func (a *Attrs) SetOwner(perm, uid, gid uint32) {
	a.mu.Lock()
	a.mode = a.mode&unix.S_IFMT | perm&0o7777
	a.uid, a.gid = uid, gid
	a.mu.Unlock()
}

// SetTimes sets the times as an archive recorded them.
func (a *Attrs) SetTimes(atime, mtime unix.Timespec) {
	a.mu.Lock()
	a.atime, a.mtime = atime, mtime
	a.mu.Unlock()
}

// Now is the current real time.
func Now() unix.Timespec {
	t := time.Now()
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// Stat is what stat(2) and statx(2) report, before it is put in an architecture's layout.
type Stat struct {
	Dev, Ino, Rdev             uint64
	Mode, Nlink, UID, GID      uint32
	Size, Blocks               int64 // bytes, 512-byte blocks
	Blksize                    uint32
	Atime, Mtime, Ctime, Btime unix.Timespec
}

// StatOf answers the attributes of i.
func StatOf(i Inode) Stat {
	size, blocks := i.Size()
	a := i.Attributes()
	a.mu.Lock()
	defer a.mu.Unlock()
	return Stat{
		Dev: a.Dev, Ino: a.Ino, Rdev: a.Rdev,
		Mode: a.mode, Nlink: a.nlink, UID: a.uid, GID: a.gid,
		Size: size, Blocks: blocks, Blksize: PageSize,
		Atime: a.atime, Mtime: a.mtime, Ctime: a.ctime, Btime: a.btime,
	}
}

// acquire counts an open description of i: ENOENT when the contents are gone already.
func acquire(i Inode) error {
	a := i.Attributes()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.destroyed {
		return unix.ENOENT
	}
	a.refs++
	return nil
}

// release undoes acquire.
func release(i Inode) {
	a := i.Attributes()
	a.mu.Lock()
	a.refs--
	a.mu.Unlock()
	reap(i)
}

// reap destroys i when nothing refers to it any more.
func reap(i Inode) {
	a := i.Attributes()
	a.mu.Lock()
	gone := a.nlink == 0 && a.refs == 0 && !a.destroyed
	if gone {
		a.destroyed = true
	}
	a.mu.Unlock()
	if gone {
		goneFor(i)
		i.Destroy()
	}
}

// NotDirectory holds the answers of an inode that is neither a directory nor a symbolic link nor has contents to truncate.
type NotDirectory struct{}

func (NotDirectory) Size() (int64, int64)                    { return 0, 0 }
func (NotDirectory) Truncate(Caller, int64) error            { return unix.EINVAL }
func (NotDirectory) Readlink(Caller) (string, error)         { return "", unix.EINVAL }
func (NotDirectory) Destroy()                                {}
func (NotDirectory) Lookup(string) (Inode, error)            { return nil, unix.ENOTDIR }
func (NotDirectory) Link(Caller, string, Inode) error        { return unix.ENOTDIR }
func (NotDirectory) Unlink(Caller, string, Inode) error      { return unix.ENOTDIR }
func (NotDirectory) Rmdir(Caller, string, Inode) error       { return unix.ENOTDIR }
func (NotDirectory) Open(Caller, *Description) (File, error) { return nil, unix.ENXIO }
func (NotDirectory) Create(Caller, string, uint32, uint64) (Inode, error) {
	return nil, unix.ENOTDIR
}
func (NotDirectory) Symlink(Caller, string, string) (Inode, error) { return nil, unix.ENOTDIR }
func (NotDirectory) Rename(Caller, string, Inode, Inode, string, Inode, bool) error {
	return unix.ENOTDIR
}

// ReadOnlyDirectory holds the answers of a directory whose entries the filesystem makes by itself: it lacks Lookup and Open.
type ReadOnlyDirectory struct{}

func (ReadOnlyDirectory) Size() (int64, int64)               { return 0, 0 }
func (ReadOnlyDirectory) Truncate(Caller, int64) error       { return unix.EISDIR }
func (ReadOnlyDirectory) Readlink(Caller) (string, error)    { return "", unix.EINVAL }
func (ReadOnlyDirectory) Destroy()                           {}
func (ReadOnlyDirectory) Link(Caller, string, Inode) error   { return unix.EPERM }
func (ReadOnlyDirectory) Unlink(Caller, string, Inode) error { return unix.EPERM }
func (ReadOnlyDirectory) Rmdir(Caller, string, Inode) error  { return unix.EPERM }
func (ReadOnlyDirectory) Create(Caller, string, uint32, uint64) (Inode, error) {
	return nil, unix.EPERM
}
func (ReadOnlyDirectory) Symlink(Caller, string, string) (Inode, error) { return nil, unix.EPERM }
func (ReadOnlyDirectory) Rename(Caller, string, Inode, Inode, string, Inode, bool) error {
	return unix.EPERM
}
