// Package devtmpfs is /dev: a tmpfs that the kernel fills with device nodes, and the memory devices (mem(4), null(4), random(4)).
package devtmpfs

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/vfs"
)

// Options are what a devtmpfs is made with.
type Options struct {
	Frames  vfs.Frames
	Devices *vfs.Devices
	Nodes   []Node // beside the memory devices
}

// Node is a character device node.
type Node struct {
	Name string
	Dev  uint64
	Mode uint32
	GID  uint32
}

// Numbers of the memory devices (Documentation/admin-guide/devices.txt).
var (
	null    = unix.Mkdev(1, 3)
	zero    = unix.Mkdev(1, 5)
	full    = unix.Mkdev(1, 7)
	random  = unix.Mkdev(1, 8)
	urandom = unix.Mkdev(1, 9)
	kmsg    = unix.Mkdev(1, 11)
)

var memoryNodes = []Node{
	{"null", null, 0o666, 0}, {"zero", zero, 0o666, 0}, {"full", full, 0o666, 0},
	{"random", random, 0o666, 0}, {"urandom", urandom, 0o666, 0}, {"kmsg", kmsg, 0o644, 0},
}

var symlinks = [][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
}

// New answers a filled devtmpfs.
func New(o Options) (*vfs.Superblock, error) {
	sb := tmpfs.New(tmpfs.Options{Frames: o.Frames, Devices: o.Devices, Mode: 0o755, Type: "devtmpfs"})
	c := vfs.NewKernelCaller(vfs.NewNamespace(sb, "devtmpfs", 0).Root())
	defer c.Close()
	at := vfs.AtCwd(c)
	for _, n := range append(memoryNodes, o.Nodes...) {
		if err := vfs.Mknod(c, at, n.Name, unix.S_IFCHR|n.Mode, n.Dev); err != nil {
			return nil, err
		}
		if n.GID != 0 {
			p, err := vfs.Lookup(c, at, n.Name, 0)
			if err != nil {
				return nil, err
			}
			if err := vfs.Chown(c, p, vfs.Unchanged, n.GID); err != nil {
				return nil, err
			}
		}
	}
	for _, l := range symlinks {
		if err := vfs.Symlink(c, l[0], at, l[1]); err != nil {
			return nil, err
		}
	}
	if err := vfs.Mknod(c, at, "ptmx", unix.S_IFCHR|0o666, unix.Mkdev(5, 2)); err != nil {
		return nil, err
	}
	for _, dir := range []string{"pts", "shm"} {
		if err := vfs.Mkdir(c, at, dir, 0o755); err != nil {
			return nil, err
		}
	}
	if p, err := vfs.Lookup(c, at, "shm", 0); err != nil {
		return nil, err
	} else if err := vfs.Chmod(c, p, 0o1777); err != nil {
		return nil, err
	}
	return sb, nil
}

// RegisterMemory enters the drivers of the memory devices. fill puts random bytes in its argument; log takes what is written to /dev/kmsg.
func RegisterMemory(t *vfs.Devices, fill func([]byte), log func([]byte)) {
	for dev, f := range map[uint64]vfs.File{
		null: nullFile{}, zero: zeroFile{}, full: fullFile{}, random: randomFile{fill: fill}, urandom: randomFile{fill: fill}, kmsg: kmsgFile{log: log},
	} {
		t.Register(unix.S_IFCHR, dev, func(vfs.Caller, *vfs.Description) (vfs.File, error) { return f, nil })
	}
}

// atStart is a device whose position is always 0 (null_lseek).
type atStart struct{ vfs.SeekableFile }

func (atStart) Seek(vfs.Caller, *vfs.Description, int64, int64, int) (int64, error) { return 0, nil }

// Pollable implements vfs.Poller.
func (atStart) Pollable() bool { return false }

type nullFile struct{ atStart }

func (nullFile) Read(vfs.Caller, *vfs.Description, vfs.Buffer, *int64) (int, error) { return 0, nil }

func (nullFile) Write(_ vfs.Caller, _ *vfs.Description, src vfs.Buffer, pos *int64) (int, error) {
	*pos += int64(src.Len())
	return src.Len(), nil
}

var zeros [16 * vfs.PageSize]byte

type zeroFile struct{ atStart }

func (zeroFile) Read(_ vfs.Caller, _ *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	for done := 0; done < dst.Len(); {
		n, err := dst.CopyOut(done, zeros[:min(len(zeros), dst.Len()-done)])
		if done += n; err != nil {
			return done, err
		}
	}
	return dst.Len(), nil
}

func (zeroFile) Write(_ vfs.Caller, _ *vfs.Description, src vfs.Buffer, _ *int64) (int, error) {
	return src.Len(), nil
}

// Mappable answers anonymous memory.
func (zeroFile) Mappable(vfs.Caller, *vfs.Description) (vfs.Mappable, error) { return nil, nil }

type fullFile struct{ zeroFile }

func (fullFile) Write(vfs.Caller, *vfs.Description, vfs.Buffer, *int64) (int, error) {
	return 0, unix.ENOSPC
}

func (fullFile) Mappable(vfs.Caller, *vfs.Description) (vfs.Mappable, error) { return nil, unix.ENODEV }

type randomFile struct {
	vfs.SeekableFile
	fill func([]byte)
}

func (randomFile) Seek(_ vfs.Caller, _ *vfs.Description, pos, _ int64, _ int) (int64, error) {
	return pos, nil
}

func (r randomFile) Read(_ vfs.Caller, _ *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	var chunk [512]byte
	for done := 0; done < dst.Len(); {
		b := chunk[:min(len(chunk), dst.Len()-done)]
		r.fill(b)
		n, err := dst.CopyOut(done, b)
		if done += n; err != nil {
			return done, err
		}
	}
	return dst.Len(), nil
}

// Write takes entropy, which is not needed.
func (randomFile) Write(_ vfs.Caller, _ *vfs.Description, src vfs.Buffer, _ *int64) (int, error) {
	return src.Len(), nil
}

// kmsgFile adds lines to the kernel's log.
type kmsgFile struct {
	atStart
	log func([]byte)
}

func (k kmsgFile) Write(_ vfs.Caller, _ *vfs.Description, src vfs.Buffer, _ *int64) (int, error) {
	line := make([]byte, min(src.Len(), 1024))
	n, err := src.CopyIn(0, line)
	if err != nil {
		return 0, err
	}
	if n < src.Len() {
		return 0, unix.EINVAL
	}
	k.log(line)
	return n, nil
}
