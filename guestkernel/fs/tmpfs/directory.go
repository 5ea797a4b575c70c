package tmpfs

import (
	"slices"
	"sort"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/pagecache"
	"ringo/guestkernel/vfs"
)

// direntSize is what an entry adds to st_size of its directory (BOGO_DIRENT_SIZE).
const direntSize = 20

// directory keeps its entries by name and in the order they were made: each entry has a position that never changes, so that reading a
// directory while it changes neither repeats nor misses an entry.
type directory struct {
	vfs.Attrs
	vfs.ReadOnlyDirectory
	fs *FS

	mu      sync.Mutex
	entries map[string]*entry
	order   []*entry // by position, removed ones among them
	removed int      // removed entries in order
	last    int64    // position of the newest entry
}

type entry struct {
	name  string
	inode vfs.Inode // nil: removed
	at    int64
}

// firstPos is behind "." and "..".
const firstPos = 3

func (d *directory) add(name string, i vfs.Inode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = max(d.last+1, firstPos)
	e := &entry{name, i, d.last}
	d.entries[name] = e
	d.order = append(d.order, e)
}

func (d *directory) drop(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[name].inode = nil
	delete(d.entries, name)
	if d.removed++; d.removed > 16 && d.removed > len(d.order)/2 {
		d.order = slices.DeleteFunc(d.order, func(e *entry) bool { return e.inode == nil })
		d.removed = 0
	}
}

func (d *directory) set(name string, i vfs.Inode) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[name].inode = i
}

func (d *directory) empty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.entries) == 0
}

// Size implements vfs.Inode.
func (d *directory) Size() (int64, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.entries)+2) * direntSize, 0
}

// Destroy implements vfs.Inode.
func (d *directory) Destroy() { d.fs.inodes.Add(-1) }

// Lookup implements vfs.Inode.
func (d *directory) Lookup(name string) (vfs.Inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.entries[name]; e != nil {
		return e.inode, nil
	}
	return nil, unix.ENOENT
}

// Create implements vfs.Inode.
func (d *directory) Create(c vfs.Caller, name string, mode uint32, rdev uint64) (vfs.Inode, error) {
	ino, err := d.fs.newInode()
	if err != nil {
		return nil, err
	}
	mode, uid, gid := vfs.NewOwner(c, &d.Attrs, mode)
	i := d.fs.make(ino, mode, uid, gid, rdev)
	d.enter(name, i)
	return i, nil
}

// make builds the inode of the kind that mode says.
func (fs *FS) make(ino uint64, mode, uid, gid uint32, rdev uint64) vfs.Inode {
	var i vfs.Inode
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		i = &file{fs: fs, contents: pagecache.New(fs.options.Frames, fs), sealState: sealState{seals: unix.F_SEAL_SEAL}}
	case unix.S_IFDIR:
		i = &directory{fs: fs, entries: make(map[string]*entry)}
	case unix.S_IFIFO:
		i = &fifo{fs: fs}
	default:
		i = &node{fs: fs}
	}
	a := i.Attributes()
	a.Init(fs.dev, ino, mode, uid, gid)
	a.AllowXattrs()
	a.Rdev = rdev
	return i
}

// enter adds a new entry.
func (d *directory) enter(name string, i vfs.Inode) {
	d.add(name, i)
	if i.Attributes().IsDir() {
		d.AddLinks(1)
	}
	d.Modified()
}

// Symlink implements vfs.Inode.
func (d *directory) Symlink(c vfs.Caller, name, target string) (vfs.Inode, error) {
	if len(target) >= vfs.PageSize {
		return nil, unix.ENAMETOOLONG
	}
	ino, err := d.fs.newInode()
	if err != nil {
		return nil, err
	}
	mode, uid, gid := vfs.NewOwner(c, &d.Attrs, unix.S_IFLNK|0o777)
	s := &symlink{fs: d.fs, target: target}
	s.Init(d.fs.dev, ino, mode, uid, gid)
	s.AllowXattrs()
	d.enter(name, s)
	return s, nil
}

// Temporary makes a file without a name: O_TMPFILE.
func (d *directory) Temporary(c vfs.Caller, mode uint32) (vfs.Inode, error) {
	ino, err := d.fs.newInode()
	if err != nil {
		return nil, err
	}
	mode, uid, gid := vfs.NewOwner(c, &d.Attrs, mode)
	i := d.fs.make(ino, mode, uid, gid, 0)
	i.Attributes().ClearLinks()
	return i, nil
}

// CreateBacked makes a regular file that shows data, which never changes, until it is written: how an archive in memory is unpacked without
// copying it. The caller has the tree to itself.
func (d *directory) CreateBacked(c vfs.Caller, name string, mode uint32, data []byte) (vfs.Inode, error) {
	contents, err := pagecache.NewBacked(d.fs.options.Frames, d.fs, data)
	if err != nil {
		return nil, err
	}
	ino, err := d.fs.newInode()
	if err != nil {
		contents.Free()
		return nil, err
	}
	mode, uid, gid := vfs.NewOwner(c, &d.Attrs, mode)
	f := &file{fs: d.fs, contents: contents, sealState: sealState{seals: unix.F_SEAL_SEAL}}
	f.Init(d.fs.dev, ino, mode, uid, gid)
	f.AllowXattrs()
	d.enter(name, f)
	return f, nil
}

// Link implements vfs.Inode.
func (d *directory) Link(_ vfs.Caller, name string, target vfs.Inode) error {
	target.Attributes().AddLinks(1)
	d.enter(name, target)
	return nil
}

// Unlink implements vfs.Inode.
func (d *directory) Unlink(_ vfs.Caller, name string, target vfs.Inode) error {
	d.drop(name)
	d.Modified()
	target.Attributes().AddLinks(-1)
	return nil
}

// Rmdir implements vfs.Inode.
func (d *directory) Rmdir(_ vfs.Caller, name string, target vfs.Inode) error {
	t, ok := target.(*directory)
	if !ok {
		return unix.ENOTDIR
	}
	if !t.empty() {
		return unix.ENOTEMPTY
	}
	d.drop(name)
	d.AddLinks(-1)
	d.Modified()
	t.ClearLinks()
	return nil
}

// Rename implements vfs.Inode.
func (d *directory) Rename(_ vfs.Caller, name string, source vfs.Inode, newDir vfs.Inode, newName string, victim vfs.Inode, exchange bool) error {
	to := newDir.(*directory)
	isDir := source.Attributes().IsDir()
	if exchange {
		d.set(name, victim)
		to.set(newName, source)
		victimIsDir := victim.Attributes().IsDir()
		if isDir && !victimIsDir {
			d.AddLinks(-1)
			to.AddLinks(1)
		} else if !isDir && victimIsDir {
			d.AddLinks(1)
			to.AddLinks(-1)
		}
		victim.Attributes().Changed()
	} else {
		if v, ok := victim.(*directory); ok {
			if !v.empty() {
				return unix.ENOTEMPTY
			}
			v.ClearLinks()
			to.AddLinks(-1)
		} else if victim != nil {
			victim.Attributes().AddLinks(-1)
		}
		d.drop(name)
		if victim != nil {
			to.drop(newName)
		}
		to.add(newName, source)
		if isDir && d != to {
			d.AddLinks(-1)
			to.AddLinks(1)
		}
	}
	d.Modified()
	to.Modified()
	source.Attributes().Changed()
	return nil
}

// Open implements vfs.Inode.
func (d *directory) Open(vfs.Caller, *vfs.Description) (vfs.File, error) {
	return openDirectory{d: d}, nil
}

type openDirectory struct {
	vfs.DirectoryFile
	d *directory
}

// ReadDir implements vfs.File. The newest entry comes first, as in Linux. A position is that of the last entry that was emitted; 2 is the start.
func (o openDirectory) ReadDir(_ vfs.Caller, fd *vfs.Description, pos *int64, emit func(vfs.Dirent) bool) error {
	if !vfs.EmitDots(fd, pos, emit) {
		return nil
	}
	d := o.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range slices.Backward(d.before(*pos)) {
		if e.inode == nil {
			continue
		}
		a := e.inode.Attributes()
		if !emit(vfs.Dirent{Name: e.name, Ino: a.Ino, Type: vfs.DirentType(a.Mode()), Next: e.at}) {
			return nil
		}
		*pos = e.at
	}
	return nil
}

// before answers the entries that are older than the one at pos.
func (d *directory) before(pos int64) []*entry {
	if pos < firstPos {
		return d.order
	}
	i := sort.Search(len(d.order), func(i int) bool { return d.order[i].at >= pos })
	return d.order[:i]
}
