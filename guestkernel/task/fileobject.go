package task

import (
	"math"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/vfs"
)

// fileObject is a file as address spaces map it. It is comparable: two mappings of one description are
// the same object.
type fileObject struct {
	file vfs.Mappable
	d    *vfs.Description
}

// NewFileObject answers what d maps, nil for anonymous memory (/dev/zero). Errors: ENODEV and the file's own.
func NewFileObject(t *Task, d *vfs.Description) (mm.Object, error) {
	m, err := d.Mappable(t)
	if err != nil || m == nil {
		return nil, err
	}
	return fileObject{m, d}, nil
}

// Page implements mm.Object.
func (o fileObject) Page(off uint64, write bool) (uint64, error) {
	phys, err := o.file.MapPage(off>>mm.PageShift, write)
	if err == vfs.ErrPastEnd {
		err = mm.ErrBeyondEnd
	}
	return phys, err
}

// Attach implements mm.Object: the mapping holds the description open.
func (o fileObject) Attach(s *mm.Space) {
	o.d.Ref()
	o.file.Attach(fileMapping{s})
}

// Detach implements mm.Object.
func (o fileObject) Detach(s *mm.Space) {
	o.file.Detach(fileMapping{s})
	o.d.Unref()
}

// Punch implements mm.Puncher.
func (o fileObject) Punch(caller any, off, length uint64) error {
	c, ok := caller.(vfs.Caller)
	if !ok {
		return unix.EOPNOTSUPP
	}
	const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	return o.d.Allocate(c, punch, int64(off), int64(length))
}

// Name is the file's path, for /proc/PID/maps.
func (o fileObject) Name() string { return o.d.Path().String() }

// FileID is what /proc/PID/maps shows of the file.
func (o fileObject) FileID() (dev, ino uint64) {
	a := o.d.Inode().Attributes()
	return a.Dev, a.Ino
}

// Identity implements mm.Object.
func (o fileObject) Identity() any { return o.file }

// fileMapping is an address space as files know it.
type fileMapping struct{ space *mm.Space }

// Invalidate implements vfs.Mapping.
func (m fileMapping) Invalidate(file vfs.Mappable, first, count uint64, copies bool) {
	off, length := first<<mm.PageShift, count<<mm.PageShift
	if count > math.MaxUint64>>mm.PageShift-first {
		length = math.MaxUint64 - off
	}
	m.space.Invalidate(file, off, length, copies)
}
