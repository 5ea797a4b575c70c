// Package tmpfs is a filesystem in memory (tmpfs(5)). It is the root filesystem, /tmp, /dev (through devtmpfs) and the home of memfds.
package tmpfs

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/pagecache"
	"ringo/guestkernel/fs/pipefs"
	"ringo/guestkernel/vfs"
)

// Options are what a tmpfs is made with.
type Options struct {
	Frames  vfs.Frames
	Devices *vfs.Devices // what device nodes open; nil: none can be opened
	Pages   int64        // size limit in pages; 0: none
	Inodes  int64        // limit of inodes; 0: none
	Mode    uint32       // permissions of the root directory; 0 is 01777
	UID     uint32
	GID     uint32
	Type    string // name in /proc/mounts; "" is tmpfs
	Total   int64  // the machine's memory in pages
	// ShowSize and ShowInodes have /proc/mounts show the limits, as when somebody asked for them.
	ShowSize, ShowInodes bool
}

// FS is one tmpfs instance.
type FS struct {
	options Options
	dev     uint64
	root    *directory

	total   int64        // the machine's memory in pages, for limits in percent
	limits  sync.RWMutex // guards options.Pages and Inodes
	lastIno atomic.Uint64
	pages   atomic.Int64 // in use
	inodes  atomic.Int64 // in use
}

// New answers the superblock of a new, empty tmpfs.
func New(o Options) *vfs.Superblock {
	if o.Mode == 0 {
		o.Mode = 0o1777
	}
	if o.Type == "" {
		o.Type = "tmpfs"
	}
	fs := &FS{options: o, dev: vfs.NewDev(), total: o.Total}
	fs.inodes.Store(1)
	fs.root = &directory{fs: fs, entries: make(map[string]*entry)}
	fs.root.Init(fs.dev, fs.lastIno.Add(1), unix.S_IFDIR|o.Mode&0o7777, o.UID, o.GID)
	fs.root.AllowXattrs()
	return vfs.NewSuperblock(fs, fs.dev, false)
}

// Type implements vfs.Filesystem.
func (fs *FS) Type() string { return fs.options.Type }

// Root implements vfs.Filesystem.
func (fs *FS) Root() vfs.Inode { return fs.root }

// Shutdown frees all contents when the filesystem is mounted nowhere any more.
func (fs *FS) Shutdown() {
	dirs := []*directory{fs.root}
	for len(dirs) > 0 {
		d := dirs[0]
		dirs = dirs[1:]
		d.mu.Lock()
		entries := d.entries
		d.entries, d.order = make(map[string]*entry), nil
		d.mu.Unlock()
		for _, e := range entries {
			if below, ok := e.inode.(*directory); ok {
				dirs = append(dirs, below)
				continue
			}
			vfs.Discard(e.inode)
		}
		vfs.Discard(d)
	}
}

// Remount changes the limits: EINVAL for options it does not know and for limits below what is in use.
func (fs *FS) Remount(data string) error {
	o := Options{Pages: fs.options.Pages, Inodes: fs.options.Inodes}
	if err := o.parse(data, fs.total); err != nil {
		return err
	}
	if o.Pages > 0 && o.Pages < fs.pages.Load() || o.Inodes > 0 && o.Inodes < fs.inodes.Load() {
		return unix.EINVAL
	}
	fs.limits.Lock()
	defer fs.limits.Unlock()
	fs.options.Pages, fs.options.Inodes = o.Pages, o.Inodes
	fs.options.ShowSize, fs.options.ShowInodes = fs.options.ShowSize || o.ShowSize, fs.options.ShowInodes || o.ShowInodes
	return nil
}

// Show is what /proc/mounts says of the options.
func (fs *FS) Show() string {
	pages, inodes := fs.bounds()
	s := ""
	if pages > 0 && fs.options.ShowSize {
		s += ",size=" + strconv.FormatInt(pages*vfs.PageSize/1024, 10) + "k"
	}
	if inodes > 0 && fs.options.ShowInodes {
		s += ",nr_inodes=" + strconv.FormatInt(inodes, 10)
	}
	if fs.options.Mode != 0o1777 {
		s += fmt.Sprintf(",mode=%o", fs.options.Mode)
	}
	return s
}

// bounds are the limits, which a remount changes.
func (fs *FS) bounds() (pages, inodes int64) {
	fs.limits.RLock()
	defer fs.limits.RUnlock()
	return fs.options.Pages, fs.options.Inodes
}

// SetLimit lets the filesystem take so many pages more than it has now.
func (fs *FS) SetLimit(more int64) {
	fs.limits.Lock()
	defer fs.limits.Unlock()
	fs.options.Pages = fs.pages.Load() + more
}

// Statfs implements vfs.Filesystem. Without limits the sizes are 0, as in Linux.
func (fs *FS) Statfs() vfs.Statfs {
	s := vfs.Statfs{Magic: unix.TMPFS_MAGIC, Bsize: vfs.PageSize, Fsid: fs.dev}
	pages, inodes := fs.bounds()
	if n := pages; n > 0 {
		s.Blocks = uint64(n)
		s.Bfree = uint64(max(0, n-fs.pages.Load()))
	}
	if n := inodes; n > 0 {
		s.Files = uint64(n)
		s.Ffree = uint64(max(0, n-fs.inodes.Load()))
	}
	return s
}

// Charge implements pagecache.Budget.
func (fs *FS) Charge(n int) error {
	used := fs.pages.Add(int64(n))
	if limit, _ := fs.bounds(); limit > 0 && used > limit {
		fs.pages.Add(int64(-n))
		return unix.ENOSPC
	}
	return nil
}

// Uncharge implements pagecache.Budget.
func (fs *FS) Uncharge(n int) { fs.pages.Add(int64(-n)) }

// newInode takes an inode number.
func (fs *FS) newInode() (uint64, error) {
	_, limit := fs.bounds()
	if used := fs.inodes.Add(1); limit > 0 && used > limit {
		fs.inodes.Add(-1)
		return 0, unix.ENOSPC
	}
	return fs.lastIno.Add(1), nil
}

// file is a regular file.
type file struct {
	vfs.Attrs
	vfs.NotDirectory
	sealState
	fs       *FS
	contents *pagecache.Contents
}

// Size implements vfs.Inode.
func (f *file) Size() (int64, int64) { return f.contents.Size(), f.contents.Blocks() }

// Open implements vfs.Inode: the inode is its own File.
func (f *file) Open(vfs.Caller, *vfs.Description) (vfs.File, error) { return openFile{f: f}, nil }

// Truncate implements vfs.Inode.
func (f *file) Truncate(_ vfs.Caller, size int64) error {
	if old := f.contents.Size(); size < old && f.sealed(unix.F_SEAL_SHRINK) || size > old && f.sealed(unix.F_SEAL_GROW) {
		return unix.EPERM
	}
	return f.contents.Truncate(size)
}

// Destroy implements vfs.Inode.
func (f *file) Destroy() {
	f.contents.Free()
	f.fs.inodes.Add(-1)
}

// openFile are the operations of an open regular file.
type openFile struct {
	vfs.SeekableFile
	f *file
}

// Read implements vfs.File.
func (o openFile) Read(_ vfs.Caller, d *vfs.Description, dst vfs.Buffer, pos *int64) (int, error) {
	n, err := o.f.contents.Read(dst, *pos)
	*pos += int64(n)
	if d.Flags()&unix.O_NOATIME == 0 {
		o.f.Accessed()
	}
	return n, err
}

// Write implements vfs.File.
func (o openFile) Write(c vfs.Caller, d *vfs.Description, src vfs.Buffer, pos *int64) (int, error) {
	if src.Len() == 0 {
		return 0, nil
	}
	if seals := o.Seals(); seals&^unix.F_SEAL_SEAL != 0 {
		if seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
			return 0, unix.EPERM
		}
		if seals&unix.F_SEAL_GROW != 0 && (d.Flags()&unix.O_APPEND != 0 || *pos+int64(src.Len()) > o.f.contents.Size()) {
			return 0, unix.EPERM
		}
	}
	limit := c.Rlimit(unix.RLIMIT_FSIZE)
	n, err := o.f.contents.Write(src, pos, d.Flags()&unix.O_APPEND != 0, limit)
	if n > 0 {
		o.f.Written(c)
	}
	if err == unix.EFBIG && uint64(*pos) >= limit {
		c.Signal(unix.SIGXFSZ)
	}
	return n, err
}

// Seek implements vfs.File, with holes.
func (o openFile) Seek(c vfs.Caller, d *vfs.Description, pos, offset int64, whence int) (int64, error) {
	if whence == unix.SEEK_DATA || whence == unix.SEEK_HOLE {
		return o.f.contents.SeekData(offset, whence == unix.SEEK_HOLE)
	}
	var size int64
	if whence == unix.SEEK_END {
		size = o.f.contents.Size()
	}
	return vfs.SeekIn(size, pos, offset, whence)
}

// Mappable implements vfs.File.
func (o openFile) Mappable(vfs.Caller, *vfs.Description) (vfs.Mappable, error) {
	return o.f.contents, nil
}

// Allocate implements vfs.File.
func (o openFile) Allocate(c vfs.Caller, _ *vfs.Description, mode uint32, offset, length int64) error {
	keep := mode&unix.FALLOC_FL_KEEP_SIZE != 0
	switch mode &^ unix.FALLOC_FL_KEEP_SIZE {
	case 0:
		if !keep && offset+length > o.f.contents.Size() && o.f.sealed(unix.F_SEAL_GROW) {
			return unix.EPERM
		}
		if limit := c.Rlimit(unix.RLIMIT_FSIZE); !keep && offset+length > o.f.contents.Size() && uint64(offset+length) > limit {
			c.Signal(unix.SIGXFSZ)
			return unix.EFBIG
		}
		if err := o.f.contents.Allocate(offset, length, !keep); err != nil {
			return err
		}
	case unix.FALLOC_FL_PUNCH_HOLE:
		if o.MayMapWritable() != nil {
			return unix.EPERM
		}
		o.f.contents.PunchHole(offset, length)
	default:
		return unix.EOPNOTSUPP
	}
	o.f.Written(c)
	return nil
}

// symlink is a symbolic link.
type symlink struct {
	vfs.Attrs
	vfs.NotDirectory
	fs     *FS
	target string
}

// shortTarget is the longest target that Linux keeps outside a page (SHORT_SYMLINK_LEN with the NUL).
const shortTarget = 127

// Size implements vfs.Inode: a long target takes a page, as in Linux.
func (s *symlink) Size() (int64, int64) {
	if n := int64(len(s.target)); n > shortTarget {
		return n, vfs.PageSize / 512
	}
	return int64(len(s.target)), 0
}

// Readlink implements vfs.Inode.
func (s *symlink) Readlink(vfs.Caller) (string, error) { return s.target, nil }

// Destroy implements vfs.Inode.
func (s *symlink) Destroy() { s.fs.inodes.Add(-1) }

// node is a device node or socket.
type node struct {
	vfs.Attrs
	vfs.NotDirectory
	fs *FS
}

// Open implements vfs.Inode.
func (n *node) Open(c vfs.Caller, d *vfs.Description) (vfs.File, error) {
	return n.fs.options.Devices.Open(c, d, n.Type(), n.Rdev)
}

// Destroy implements vfs.Inode.
func (n *node) Destroy() { n.fs.inodes.Add(-1) }

// fifo is a named pipe.
type fifo struct {
	vfs.Attrs
	vfs.NotDirectory
	fs   *FS
	once sync.Once
	pipe *pipefs.Pipe
}

// Open implements vfs.Inode.
func (f *fifo) Open(_ vfs.Caller, d *vfs.Description) (vfs.File, error) {
	f.once.Do(func() { f.pipe = pipefs.NewPipe() })
	return f.pipe.OpenNamed(d)
}

// Destroy implements vfs.Inode.
func (f *fifo) Destroy() { f.fs.inodes.Add(-1) }
