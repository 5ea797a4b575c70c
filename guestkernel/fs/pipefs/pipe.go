// Package pipefs holds pipes and fifos (pipe(7), fifo(7)).
//
// A pipe is a ring of page-sized slots, as in Linux, because programs can see it: how much fits, when it counts as writable, and that writes of
// up to PIPE_BUF bytes are never split.
package pipefs

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Limits, in bytes.
const (
	PipeBuf        = 4096    // writes up to this are atomic
	DefaultSize    = 65536   // capacity of a new pipe
	MaxUnprivilged = 1 << 20 // /proc/sys/fs/pipe-max-size

	slotSize = vfs.PageSize
)

// slot is a page of data in a pipe.
type slot struct {
	data       *[slotSize]byte
	start, end int
	packet     bool // written with O_DIRECT: read alone, never added to
}

var pages = sync.Pool{New: func() any { return new([slotSize]byte) }}

// Pipe is the shared part of a pipe or fifo.
type Pipe struct {
	queue wait.Queue

	mu       sync.Mutex
	slots    []slot // ring
	head     int    // oldest slot
	used     int    // slots with data
	readers  int
	writers  int
	readGen  uint64 // opens for reading so far: a fifo's opener waits for a change
	writeGen uint64
}

// NewPipe answers an empty pipe that nobody has open.
func NewPipe() *Pipe { return &Pipe{slots: make([]slot, DefaultSize/slotSize)} }

func (p *Pipe) at(i int) *slot { return &p.slots[(p.head+i)%len(p.slots)] }

// read moves data to dst: nothing with nil is end of file.
func (p *Pipe) read(dst vfs.Buffer) (int, error) {
	if dst.Len() == 0 {
		return 0, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == 0 {
		if p.writers == 0 {
			return 0, nil
		}
		return 0, wait.ErrWouldBlock
	}
	done, full, freed := 0, p.used == len(p.slots), false
	var err error
	for p.used > 0 && done < dst.Len() && err == nil {
		s := p.at(0)
		var n int
		n, err = dst.CopyOut(done, s.data[s.start:min(s.end, s.start+dst.Len()-done)])
		done += n
		s.start += n
		packet := s.packet
		if s.start == s.end || packet && err == nil {
			p.free()
			freed = true
		}
		if packet {
			break
		}
	}
	if full && freed {
		p.queue.Notify(wait.Out | wait.WrNorm)
	}
	return done, err
}

// free drops the oldest slot.
func (p *Pipe) free() {
	s := p.at(0)
	pages.Put(s.data)
	*s = slot{}
	p.head = (p.head + 1) % len(p.slots)
	p.used--
}

// write moves data from src. Up to PipeBuf bytes go whole or not at all.
func (p *Pipe) write(src vfs.Buffer, packets bool) (int, error) {
	if src.Len() == 0 {
		return 0, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readers == 0 {
		return 0, unix.EPIPE
	}
	done := 0
	var err error
	// The tail of the data goes into the last slot when all of it fits there.
	if tail := src.Len() % slotSize; p.used > 0 && tail != 0 && !packets {
		if s := p.at(p.used - 1); !s.packet && s.end+tail <= slotSize {
			done, err = src.CopyIn(0, s.data[s.end:s.end+tail])
			s.end += done
		}
	}
	for done < src.Len() && err == nil {
		if p.used == len(p.slots) {
			err = wait.ErrWouldBlock
			break
		}
		data := pages.Get().(*[slotSize]byte)
		n := 0
		n, err = src.CopyIn(done, data[:min(slotSize, src.Len()-done)])
		if n == 0 {
			pages.Put(data)
			break
		}
		*p.at(p.used) = slot{data: data, end: n, packet: packets}
		p.used++
		done += n
	}
	// Linux tells pollers of every write, of one that found no room too (poll_usage): edge-triggered epoll shows it.
	p.queue.Notify(wait.In | wait.RdNorm)
	return done, err
}

func (p *Pipe) readiness(d *vfs.Description) wait.Mask {
	p.mu.Lock()
	defer p.mu.Unlock()
	var m wait.Mask
	if d.Readable() {
		if p.used > 0 {
			m |= wait.In | wait.RdNorm
		}
		if p.writers == 0 && p.writeGen != 0 {
			m |= wait.Hup
		}
	}
	if d.Writable() {
		if p.used < len(p.slots) {
			m |= wait.Out | wait.WrNorm
		}
		if p.readers == 0 {
			m |= wait.Err
		}
	}
	return m
}

// buffered is the number of bytes that can be read: FIONREAD.
func (p *Pipe) buffered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for i := range p.used {
		n += p.at(i).end - p.at(i).start
	}
	return n
}

// Capacity is F_GETPIPE_SZ, in bytes.
func (p *Pipe) Capacity() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.slots) * slotSize
}

// SetCapacity is F_SETPIPE_SZ: it answers the new capacity, n rounded up to a power of two pages.
func (p *Pipe) SetCapacity(c vfs.Caller, n uint32) (int, error) {
	if n > 1<<31 {
		return 0, unix.EINVAL
	}
	size := slotSize
	for uint32(size) < n {
		size *= 2
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if size > len(p.slots)*slotSize && size > MaxUnprivilged && !c.Creds().Has(unix.CAP_SYS_RESOURCE) {
		return 0, unix.EPERM
	}
	count := size / slotSize
	if count < p.used {
		return 0, unix.EBUSY
	}
	if count > 1<<16 {
		return 0, unix.ENOMEM
	}
	slots := make([]slot, count)
	for i := range p.used {
		slots[i] = *p.at(i)
	}
	grown := count > len(p.slots)
	p.slots, p.head = slots, 0
	if grown {
		p.queue.Notify(wait.Out | wait.WrNorm)
	}
	return size, nil
}

// end is an open end of a pipe, or both ends of a fifo opened O_RDWR.
type end struct {
	vfs.StreamFile
	p     *Pipe
	heeds wait.Mask // events that concern this end

	waitFor *uint64 // fifo: the generation that has to change before the open is over
	from    uint64
}

// newEnd answers an end with the access mode of flags.
func newEnd(p *Pipe, flags uint32) *end {
	e := &end{p: p, heeds: ^wait.Mask(0)}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		e.heeds &^= wait.Out | wait.WrNorm
	case unix.O_WRONLY:
		e.heeds &^= wait.In | wait.RdNorm
	}
	return e
}

// Register implements wait.Source.
func (e *end) Register(w *wait.Entry, m wait.Mask) { e.p.queue.Register(w, m&e.heeds) }

// AsyncEvents implements vfs.Asynchronous.
func (e *end) AsyncEvents() (wait.Mask, bool) { return (wait.In | wait.Out) & e.heeds, true }

// Unregister implements wait.Source.
func (e *end) Unregister(w *wait.Entry) { e.p.queue.Unregister(w) }

// Readiness implements vfs.File.
func (e *end) Readiness(d *vfs.Description) wait.Mask { return e.p.readiness(d) }

// Read implements vfs.File.
func (e *end) Read(_ vfs.Caller, d *vfs.Description, dst vfs.Buffer, _ *int64) (int, error) {
	n, err := e.p.read(dst)
	if n > 0 {
		d.Inode().Attributes().Accessed()
	}
	return n, err
}

// Write implements vfs.File.
func (e *end) Write(_ vfs.Caller, d *vfs.Description, src vfs.Buffer, _ *int64) (int, error) {
	n, err := e.p.write(src, d.Flags()&unix.O_DIRECT != 0)
	if n > 0 {
		d.Inode().Attributes().Modified()
	}
	return n, err
}

// Ioctl implements vfs.File.
func (e *end) Ioctl(c vfs.Caller, _ *vfs.Description, cmd uint32, arg uint64) (uint64, error) {
	if cmd != unix.TIOCINQ { // FIONREAD
		return 0, unix.ENOTTY
	}
	return 0, vfs.PutInt32(c, arg, int32(e.p.buffered()))
}

// Pipe answers the pipe: for F_SETPIPE_SZ.
func (e *end) Pipe() *Pipe { return e.p }

// Release implements vfs.File.
func (e *end) Release(d *vfs.Description) {
	p := e.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.Readable() {
		p.readers--
	}
	if d.Writable() {
		p.writers--
	}
	if p.readers == 0 && p.writers == 0 {
		for p.used > 0 {
			p.free()
		}
		return
	}
	p.queue.Notify(wait.In | wait.RdNorm | wait.Out | wait.WrNorm | wait.Hup | wait.Err)
}

// open counts an open end.
func (p *Pipe) open(d *vfs.Description) {
	if d.Readable() {
		p.readers++
		p.readGen++
	}
	if d.Writable() {
		p.writers++
		p.writeGen++
	}
	p.queue.Notify(wait.In | wait.Out | wait.Hup | wait.Err)
}

// OpenNamed opens a fifo: for reading it waits for a writer and the other way round, unless O_NONBLOCK (fifo(7)).
func (p *Pipe) OpenNamed(d *vfs.Description) (vfs.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := newEnd(p, d.Flags())
	switch {
	case d.Readable() && d.Writable():
	case d.Readable():
		if p.writers == 0 && !d.NonBlocking() {
			e.waitFor, e.from = &p.writeGen, p.writeGen
		}
	case d.Writable():
		if p.readers == 0 {
			if d.NonBlocking() {
				return nil, unix.ENXIO
			}
			e.waitFor, e.from = &p.readGen, p.readGen
		}
	default: // access mode 3
		return nil, unix.EINVAL
	}
	p.open(d)
	return e, nil
}

// WaitOpen implements vfs.OpenWaiter.
func (e *end) WaitOpen(*vfs.Description) error {
	e.p.mu.Lock()
	defer e.p.mu.Unlock()
	if e.waitFor != nil && *e.waitFor == e.from {
		return wait.ErrWouldBlock
	}
	return nil
}

// inode is a pipe without a name.
type inode struct {
	vfs.Attrs
	vfs.NotDirectory
	p *Pipe
}

// Open implements vfs.Inode: a pipe can be opened again through /proc/self/fd.
func (i *inode) Open(_ vfs.Caller, d *vfs.Description) (vfs.File, error) { return i.p.OpenNamed(d) }

// FS makes pipes. One serves the whole kernel.
type FS struct {
	mount *vfs.Mount
	last  atomic.Uint64
}

// NewFS answers a maker of pipes.
func NewFS() *FS { return &FS{mount: vfs.AnonymousMount("pipefs")} }

// Pipe is pipe2(2) up to the descriptors. Flags are of O_NONBLOCK and O_DIRECT.
func (fs *FS) Pipe(c vfs.Caller, flags uint32) (r, w *vfs.Description, err error) {
	p := NewPipe()
	i := &inode{p: p}
	ino := fs.last.Add(1)
	i.Init(fs.mount.Superblock().Dev, ino, unix.S_IFIFO|0o600, c.Creds().FSUID, c.Creds().FSGID)
	path := fs.mount.Anonymous(fmt.Sprintf("pipe:[%d]", ino), i)
	if r, err = vfs.NewDescription(path, unix.O_RDONLY|flags, newEnd(p, unix.O_RDONLY)); err != nil {
		return nil, nil, err
	}
	if w, err = vfs.NewDescription(path, unix.O_WRONLY|flags, newEnd(p, unix.O_WRONLY)); err != nil {
		r.Unref()
		return nil, nil, err
	}
	p.mu.Lock()
	p.open(r)
	p.open(w)
	p.mu.Unlock()
	return r, w, nil
}

// Of answers the pipe behind a description, or nil.
func Of(d *vfs.Description) *Pipe {
	if e, ok := d.File().(*end); ok {
		return e.p
	}
	return nil
}

// Room is how many bytes a write can take at once.
func (p *Pipe) Room() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return (len(p.slots) - p.used) * slotSize
}

// Peek copies what can be read to b without taking it: for tee(2). Nothing with nil is the end of the file.
func (p *Pipe) Peek(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used == 0 {
		if p.writers == 0 {
			return 0, nil
		}
		return 0, wait.ErrWouldBlock
	}
	n := 0
	for i := 0; i < p.used && n < len(b); i++ {
		s := p.at(i)
		n += copy(b[n:], s.data[s.start:s.end])
	}
	return n, nil
}
