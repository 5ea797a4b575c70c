// Package devpts is /dev/pts: the slaves of pseudo-terminals (pts(4)), and what /dev/ptmx opens.
package devpts

import (
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/tty"
	"ringo/guestkernel/vfs"
)

// ptmxDev is /dev/ptmx.
var ptmxDev = unix.Mkdev(5, 2)

// Inode numbers: the directory and ptmx, then the slaves.
const (
	rootIno = iota + 1
	ptmxIno
	firstIno
)

// maxPtys is /proc/sys/kernel/pty/max.
const maxPtys = 4096

// ttyGID owns slaves, as distributions mount it (gid=5,mode=620).
const ttyGID = 5

// FS is the devpts instance.
type FS struct {
	processes tty.Processes
	sessions  *tty.Sessions
	dev       uint64
	root      *directory
	ptmx      *node

	mu   sync.Mutex
	ptys map[int]*node
}

// New answers the superblock of a devpts and enters the driver of /dev/ptmx, which opens new pairs in it.
func New(devices *vfs.Devices, processes tty.Processes, sessions *tty.Sessions) *vfs.Superblock {
	fs := &FS{processes: processes, sessions: sessions, dev: vfs.NewDev(), ptys: make(map[int]*node)}
	fs.root = &directory{fs: fs}
	fs.root.Init(fs.dev, rootIno, unix.S_IFDIR|0o755, 0, 0)
	fs.ptmx = &node{open: fs.openMaster}
	fs.ptmx.Init(fs.dev, ptmxIno, unix.S_IFCHR, 0, 0)
	fs.ptmx.Rdev = ptmxDev
	devices.Register(unix.S_IFCHR, ptmxDev, fs.openMaster)
	return vfs.NewSuperblock(fs, fs.dev, true)
}

// Type implements vfs.Filesystem.
func (fs *FS) Type() string { return "devpts" }

// Root implements vfs.Filesystem.
func (fs *FS) Root() vfs.Inode { return fs.root }

// Statfs implements vfs.Filesystem.
func (fs *FS) Statfs() vfs.Statfs {
	return vfs.Statfs{Magic: unix.DEVPTS_SUPER_MAGIC, Bsize: vfs.PageSize}
}

// openMaster makes a pair.
func (fs *FS) openMaster(c vfs.Caller, _ *vfs.Description) (vfs.File, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	number := 0
	for fs.ptys[number] != nil {
		number++
	}
	if number >= maxPtys {
		return nil, unix.ENOSPC
	}
	p := tty.NewPty(number, fs.processes, fs.sessions, func() {
		fs.mu.Lock()
		delete(fs.ptys, number)
		fs.mu.Unlock()
	})
	n := &node{open: p.OpenSlave}
	n.Init(fs.dev, firstIno+uint64(number), unix.S_IFCHR|0o620, c.Creds().FSUID, ttyGID)
	n.Rdev = unix.Mkdev(136, uint32(number))
	fs.ptys[number] = n
	return p, nil
}

// node is a device of this filesystem.
type node struct {
	vfs.Attrs
	vfs.NotDirectory
	open vfs.Driver
}

// Open implements vfs.Inode.
func (n *node) Open(c vfs.Caller, d *vfs.Description) (vfs.File, error) { return n.open(c, d) }

// directory is the root.
type directory struct {
	vfs.Attrs
	vfs.ReadOnlyDirectory
	fs *FS
}

// Lookup implements vfs.Inode.
func (d *directory) Lookup(name string) (vfs.Inode, error) {
	if name == "ptmx" {
		return d.fs.ptmx, nil
	}
	number, err := strconv.Atoi(name)
	if err != nil || strconv.Itoa(number) != name {
		return nil, unix.ENOENT
	}
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	if n := d.fs.ptys[number]; n != nil {
		return n, nil
	}
	return nil, unix.ENOENT
}

// Open implements vfs.Inode.
func (d *directory) Open(vfs.Caller, *vfs.Description) (vfs.File, error) {
	return openDirectory{fs: d.fs}, nil
}

type openDirectory struct {
	vfs.DirectoryFile
	fs *FS
}

// ReadDir implements vfs.File: position 2 is ptmx, 3 + n the slave n.
func (o openDirectory) ReadDir(_ vfs.Caller, d *vfs.Description, pos *int64, emit func(vfs.Dirent) bool) error {
	if !vfs.EmitDots(d, pos, emit) {
		return nil
	}
	if *pos == 2 {
		if !emit(vfs.Dirent{Name: "ptmx", Ino: ptmxIno, Type: unix.DT_CHR, Next: 3}) {
			return nil
		}
		*pos = 3
	}
	o.fs.mu.Lock()
	var numbers []int
	for n := range o.fs.ptys {
		if int64(n)+3 >= *pos {
			numbers = append(numbers, n)
		}
	}
	o.fs.mu.Unlock()
	slices.Sort(numbers)
	for _, n := range numbers {
		if !emit(vfs.Dirent{Name: strconv.Itoa(n), Ino: firstIno + uint64(n), Type: unix.DT_CHR, Next: int64(n) + 4}) {
			return nil
		}
		*pos = int64(n) + 4
	}
	return nil
}
