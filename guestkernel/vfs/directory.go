package vfs

import (
	"golang.org/x/sys/unix"
)

// DirectoryFile holds the answers of an open directory: it lacks ReadDir.
type DirectoryFile struct{ fileDefaults }

// Stream reports false.
func (DirectoryFile) Stream() bool { return false }

// Read answers EISDIR.
func (DirectoryFile) Read(Caller, *Description, Buffer, *int64) (int, error) { return 0, unix.EISDIR }

// Seek moves to a position that ReadDir emitted.
func (DirectoryFile) Seek(_ Caller, _ *Description, pos, offset int64, whence int) (int64, error) {
	switch whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		offset += pos
	default:
		return 0, unix.EINVAL
	}
	if offset < 0 {
		return 0, unix.EINVAL
	}
	return offset, nil
}

// Allocate answers EISDIR.
func (DirectoryFile) Allocate(Caller, *Description, uint32, int64, int64) error { return unix.EISDIR }

// DirentType turns a mode into DT_*.
func DirentType(mode uint32) uint8 { return uint8(mode & unix.S_IFMT >> 12) }

// EmitDots emits "." and "..", which take the positions 0 and 1, and reports whether there is room for more.
func EmitDots(d *Description, pos *int64, emit func(Dirent) bool) bool {
	self := d.path.Dentry
	for *pos < 2 {
		e := Dirent{Name: ".", Ino: self.inode.Attributes().Ino, Type: unix.DT_DIR, Next: *pos + 1}
		if *pos == 1 {
			e.Name = ".."
			self.sb.tree.RLock()
			parent := self.parent
			self.sb.tree.RUnlock()
			if parent == nil {
				if _, point := d.path.Mount.place(); point != nil && self == d.path.Mount.root {
					point.sb.tree.RLock()
					parent = point.parent
					point.sb.tree.RUnlock()
				}
			}
			if parent != nil {
				e.Ino = parent.inode.Attributes().Ino
			}
		}
		if !emit(e) {
			return false
		}
		*pos++
	}
	return true
}

// Devices are the drivers behind device nodes.
type Devices struct {
	drivers map[deviceKey]Driver
}

type deviceKey struct {
	kind uint32
	dev  uint64
}

// Driver opens a device node.
type Driver func(c Caller, d *Description) (File, error)

// NewDevices answers an empty registry.
func NewDevices() *Devices { return &Devices{drivers: make(map[deviceKey]Driver)} }

// Register enters a driver for the device number dev; kind is S_IFCHR or S_IFBLK. All drivers are registered before the first open.
func (t *Devices) Register(kind uint32, dev uint64, driver Driver) {
	t.drivers[deviceKey{kind, dev}] = driver
}

// Open opens the device: ENXIO when there is no driver.
func (t *Devices) Open(c Caller, d *Description, kind uint32, dev uint64) (File, error) {
	if t == nil {
		return nil, unix.ENXIO
	}
	driver := t.drivers[deviceKey{kind, dev}]
	if driver == nil {
		return nil, unix.ENXIO
	}
	return driver(c, d)
}
