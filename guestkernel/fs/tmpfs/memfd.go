package tmpfs

import (
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/pagecache"
	"ringo/guestkernel/vfs"
)

// Memfds is where the files of memfd_create(2) live: a tmpfs that is mounted nowhere.
type Memfds struct {
	fs    *FS
	mount *vfs.Mount
}

// NewMemfds answers an empty one.
func NewMemfds(frames vfs.Frames) *Memfds {
	sb := New(Options{Frames: frames, Mode: 0o777})
	return &Memfds{fs: sb.FS.(*FS), mount: vfs.DetachedMount(sb)}
}

// Create is memfd_create(2) up to the descriptor, with the initial seals; status are status flags of the description.
func (m *Memfds) Create(c vfs.Caller, name string, mode, seals, status uint32) (*vfs.Description, error) {
	ino, err := m.fs.newInode()
	if err != nil {
		return nil, err
	}
	f := &file{fs: m.fs, contents: pagecache.New(m.fs.options.Frames, m.fs), sealState: sealState{seals: seals}}
	f.Init(m.fs.dev, ino, unix.S_IFREG|mode, c.Creds().FSUID, c.Creds().FSGID)
	f.AllowXattrs()
	f.ClearLinks()
	return vfs.OpenPath(c, vfs.Unlinked(m.mount.Root(), "memfd:"+name, f), unix.O_RDWR|status, true)
}

// Seals are F_SEAL_* on a file. They only grow.
const allSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE | sealExec

const sealExec = 0x20 // F_SEAL_EXEC

// sealed reports whether one of the seals is on the file.
func (f *file) sealed(seals uint32) bool {
	f.sealMu.Lock()
	defer f.sealMu.Unlock()
	return f.seals&seals != 0
}

// Seals is F_GET_SEALS.
func (o openFile) Seals() uint32 {
	o.f.sealMu.Lock()
	defer o.f.sealMu.Unlock()
	return o.f.seals
}

// AddSeals is F_ADD_SEALS. Errors: EINVAL, EPERM when sealed against it, EBUSY for F_SEAL_WRITE while the file is mapped to be written.
func (o openFile) AddSeals(d *vfs.Description, seals uint32) error {
	if !d.Writable() {
		return unix.EPERM
	}
	if seals&^allSeals != 0 {
		return unix.EINVAL
	}
	f := o.f
	f.sealMu.Lock()
	defer f.sealMu.Unlock()
	if f.seals&unix.F_SEAL_SEAL != 0 {
		return unix.EPERM
	}
	if seals&unix.F_SEAL_WRITE != 0 && f.seals&unix.F_SEAL_WRITE == 0 {
		if err := f.contents.DenyWrites(); err != nil {
			return err
		}
	}
	f.seals |= seals
	return nil
}

// MayMapWritable answers EPERM when the file is sealed against shared mappings that are written to.
func (o openFile) MayMapWritable() error {
	if o.f.sealed(unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE) {
		return unix.EPERM
	}
	return nil
}

// sealState is a file's seals.
type sealState struct {
	sealMu sync.Mutex
	seals  uint32
}
