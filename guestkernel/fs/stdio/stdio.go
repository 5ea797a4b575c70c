// Package stdio makes files out of byte streams to the host: the standard input, output and error of the program that a guest was started
// for. To programs they look like pipes.
package stdio

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Port is a byte stream to and from the host: a port of the virtio console.
type Port interface {
	// TryRead and TryWrite transfer what they can at once and answer how much.
	TryRead(b []byte) int
	TryWrite(b []byte) int
	Readable() bool
	Writable() bool
	// Gone: reads and writes will not succeed again.
	Gone() bool
	// OnReadable and OnWritable set what to call when TryRead or TryWrite is worth trying again.
	OnReadable(f func())
	OnWritable(f func())
}

var (
	mount   = sync.OnceValue(func() *vfs.Mount { return vfs.AnonymousMount("pipefs") })
	lastIno atomic.Uint64
)

type inode struct {
	vfs.Attrs
	vfs.NotDirectory
	f vfs.File
}

// Open implements vfs.Inode: /dev/stdout opens the same stream again.
func (i *inode) Open(vfs.Caller, *vfs.Description) (vfs.File, error) { return i.f, nil }

func describe(f vfs.File, flags uint32) (*vfs.Description, error) {
	m := mount()
	i := &inode{f: f}
	ino := lastIno.Add(1)
	i.Init(m.Superblock().Dev, ino, unix.S_IFIFO|0o600, 0, 0)
	return vfs.NewDescription(m.Anonymous(fmt.Sprintf("pipe:[%d]", ino), i), flags, f)
}

// Input is a stream from the host.
type Input struct {
	vfs.StreamFile
	port  Port
	queue wait.Queue

	mu    sync.Mutex
	buf   []byte // storage
	have  []byte // arrived, not yet read
	taken int64  // bytes taken from the port so far
	end   int64  // bytes after which the stream ends; -1: not known
}

// OpenInput answers a read-only description of the stream from port. Nobody else may read the port.
func OpenInput(port Port) (*Input, *vfs.Description, error) {
	in := &Input{port: port, buf: make([]byte, 16<<10), end: -1}
	port.OnReadable(func() { in.queue.Notify(wait.Readable) })
	d, err := describe(in, unix.O_RDONLY)
	return in, d, err
}

// End says that the stream ends after total bytes: readers then see the end of the file.
func (in *Input) End(total int64) {
	in.mu.Lock()
	in.end = total
	in.mu.Unlock()
	in.queue.Notify(wait.Readable)
}

// fill takes more bytes from the port if none are left, and reports whether the stream is at its end. mu is held.
func (in *Input) fill() (end bool) {
	if len(in.have) == 0 {
		n := in.port.TryRead(in.buf)
		in.have = in.buf[:n]
		in.taken += int64(n)
	}
	return len(in.have) == 0 && (in.end >= 0 && in.taken >= in.end || in.port.Gone())
}

// Register implements wait.Source.
func (in *Input) Register(e *wait.Entry, m wait.Mask) { in.queue.Register(e, m) }

// Unregister implements wait.Source.
func (in *Input) Unregister(e *wait.Entry) { in.queue.Unregister(e) }

// Readiness implements vfs.File.
func (in *Input) Readiness(*vfs.Description) wait.Mask {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.fill():
		return wait.Hup
	case len(in.have) > 0:
		return wait.In | wait.RdNorm
	}
	return 0
}

// Read implements vfs.File.
func (in *Input) Read(_ vfs.Caller, _ *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if dst.Len() == 0 {
		return 0, nil
	}
	if in.fill() {
		return 0, nil
	}
	if len(in.have) == 0 {
		return 0, wait.ErrWouldBlock
	}
	n, err := dst.CopyOut(0, in.have[:min(len(in.have), dst.Len())])
	in.have = in.have[n:]
	return n, err
}

// Ioctl implements vfs.File.
func (in *Input) Ioctl(c vfs.Caller, _ *vfs.Description, cmd uint32, arg uint64) (uint64, error) {
	if cmd != unix.TIOCINQ {
		return 0, unix.ENOTTY
	}
	in.mu.Lock()
	in.fill()
	n := len(in.have)
	in.mu.Unlock()
	return 0, vfs.PutInt32(c, arg, int32(n))
}

// Output is a stream to the host.
type Output struct {
	vfs.StreamFile
	port  Port
	queue wait.Queue

	mu  sync.Mutex
	buf []byte
}

// OpenOutput answers a write-only description of the stream to port.
func OpenOutput(port Port) (*vfs.Description, error) {
	out := &Output{port: port, buf: make([]byte, 16<<10)}
	port.OnWritable(func() { out.queue.Notify(wait.Writable) })
	return describe(out, unix.O_WRONLY)
}

// Register implements wait.Source.
func (out *Output) Register(e *wait.Entry, m wait.Mask) { out.queue.Register(e, m) }

// Unregister implements wait.Source.
func (out *Output) Unregister(e *wait.Entry) { out.queue.Unregister(e) }

// Readiness implements vfs.File.
func (out *Output) Readiness(*vfs.Description) wait.Mask {
	if out.port.Gone() {
		return wait.Out | wait.WrNorm | wait.Err
	}
	if out.port.Writable() {
		return wait.Out | wait.WrNorm
	}
	return 0
}

// Write implements vfs.File.
func (out *Output) Write(_ vfs.Caller, _ *vfs.Description, src vfs.Buffer, _ *int64) (int, error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	for done := 0; done < src.Len(); {
		if out.port.Gone() {
			return done, unix.EPIPE
		}
		n, err := src.CopyIn(done, out.buf[:min(len(out.buf), src.Len()-done)])
		sent := out.port.TryWrite(out.buf[:n])
		done += sent
		if err != nil {
			return done, err
		}
		if sent < n {
			return done, wait.ErrWouldBlock
		}
	}
	return src.Len(), nil
}
