package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrBroken is wrapped by every error that the driver caused. The device stops using the
// queue and asks for a reset.
var ErrBroken = errors.New("virtqueue broken by the driver")

// Config is what the driver programmed for a queue. It is validated and then frozen.
type Config struct {
	Size              uint16 // descriptors
	Desc, Avail, Used uint64 // GPA of the three areas
	EventIdx          bool   // FeatureEventIdx was negotiated
	Indirect          bool   // FeatureIndirect was negotiated

	Device string // for Source
	Index  int    // the queue's number, for Source
}

// Device is the device's end of a virtqueue.
type Device struct {
	mem Memory
	cfg Config

	seenAvail uint16 // avail.idx as last read
	nextAvail uint16 // index of the next entry to take
	nextUsed  uint16 // used.idx
	signalled uint16 // used.idx when NeedInterrupt last looked
	broken    error  // first failure; sticky

	inFlight []bool // by head: taken and not completed
}

// NewDevice checks cfg against the rules of virtio 1.2 section 2.7 and guest RAM, whose
// accessor is mem. max is the largest size the device offered.
func NewDevice(mem Memory, cfg Config, max uint16) (*Device, error) {
	if !ValidSize(uint32(cfg.Size), uint32(max)) {
		return nil, fmt.Errorf("%w: size %d, want a power of two up to %d", ErrBroken, cfg.Size, max)
	}
	for _, area := range []struct {
		name       string
		gpa, align uint64
		size       uint64
	}{
		{"descriptor table", cfg.Desc, DescAlign, TableBytes(cfg.Size)},
		{"available ring", cfg.Avail, AvailAlign, AvailBytes(cfg.Size)},
		{"used ring", cfg.Used, UsedAlign, UsedBytes(cfg.Size)},
	} {
		if area.gpa%area.align != 0 {
			return nil, fmt.Errorf("%w: %s at %#x is not aligned to %d bytes", ErrBroken, area.name, area.gpa, area.align)
		}
		if err := mem.Check(area.gpa, area.size); err != nil {
			return nil, fmt.Errorf("%w: %s at %#x, %d bytes: %w", ErrBroken, area.name, area.gpa, area.size, err)
		}
	}
	return &Device{mem: mem, cfg: cfg, inFlight: make([]bool, cfg.Size)}, nil
}

// Size is the frozen number of descriptors.
func (d *Device) Size() uint16 { return d.cfg.Size }

// Err is the failure that broke the queue, or nil.
func (d *Device) Err() error { return d.broken }

func (d *Device) source() Source {
	return Source{Device: d.cfg.Device, Queue: int32(d.cfg.Index), Head: -1}
}

func (d *Device) fail(format string, args ...any) error {
	if d.broken == nil {
		d.broken = fmt.Errorf("%w: %s queue %d: %w", ErrBroken, d.cfg.Device, d.cfg.Index, fmt.Errorf(format, args...))
	}
	return d.broken
}

// pending reads avail.idx and says how many entries wait.
func (d *Device) pending() (uint16, error) {
	idx, err := d.mem.ReadUint16(d.cfg.Avail+offIdx, d.source())
	if err != nil {
		return 0, d.fail("avail.idx: %w", err)
	}
	n := idx - d.nextAvail
	if n > d.cfg.Size {
		return 0, d.fail("avail.idx is %d, %d entries past %d, but the queue has %d", idx, n, d.nextAvail, d.cfg.Size)
	}
	d.seenAvail = idx
	return n, nil
}

// Next takes the next available chain into c, whose storage it reuses. It answers false
// when the driver has offered nothing more. An error is final for the queue.
func (d *Device) Next(c *Chain) (bool, error) {
	if d.broken != nil {
		return false, d.broken
	}
	if d.nextAvail == d.seenAvail {
		if n, err := d.pending(); err != nil || n == 0 {
			return false, err
		}
	}
	var entry [availEntry]byte // an honest driver does not touch it any more
	if err := d.mem.ReadAt(d.cfg.Avail+AvailEntry(d.nextAvail&(d.cfg.Size-1)), entry[:], d.source()); err != nil {
		return false, d.fail("avail ring entry %d: %w", d.nextAvail, err)
	}
	head := binary.LittleEndian.Uint16(entry[:])
	if head >= d.cfg.Size {
		return false, d.fail("avail ring entry %d names descriptor %d of %d", d.nextAvail, head, d.cfg.Size)
	}
	if d.inFlight[head] {
		return false, d.fail("descriptor %d was offered again before it was used", head)
	}
	if err := d.walk(head, c); err != nil {
		return false, err
	}
	d.nextAvail++
	d.inFlight[head] = true
	return true, nil
}

// walk copies the chain at head into c, reading every descriptor exactly once.
func (d *Device) walk(head uint16, c *Chain) error {
	c.reset(d, head)
	table, entries := d.cfg.Desc, uint32(d.cfg.Size)
	at, indirect := head, false
	var raw [DescSize]byte
	// Every turn adds a segment or enters the one indirect table: at most Size+1 turns.
	for {
		if err := d.mem.ReadAt(table+uint64(at)*DescSize, raw[:], c.src); err != nil {
			return d.fail("descriptor %d of chain %d: %w", at, head, err)
		}
		desc := ParseDesc(raw[:])
		if desc.Flags&^flagsKnown != 0 {
			return d.fail("descriptor %d of chain %d has unknown flags %#x", at, head, desc.Flags)
		}
		if desc.Flags&FlagIndirect != 0 {
			switch {
			case !d.cfg.Indirect:
				return d.fail("descriptor %d of chain %d is indirect, which was not negotiated", at, head)
			case indirect:
				return d.fail("indirect table of chain %d holds an indirect descriptor", head)
			case desc.Flags&FlagNext != 0:
				return d.fail("descriptor %d of chain %d is both indirect and chained", at, head)
			case desc.Len == 0 || desc.Len%DescSize != 0 || desc.Len/DescSize > MaxSize:
				return d.fail("indirect table of chain %d has %d bytes, want a multiple of %d up to %d entries", head, desc.Len, DescSize, MaxSize)
			}
			if err := d.mem.Check(desc.Addr, uint64(desc.Len)); err != nil {
				return d.fail("indirect table of chain %d: %w", head, err)
			}
			// FlagWrite on a table is ignored, as section 2.7.5.3.2 demands.
			table, entries, at, indirect = desc.Addr, desc.Len/DescSize, 0, true
			continue
		}
		if err := c.add(desc); err != nil {
			return d.fail("descriptor %d of chain %d: %w", at, head, err)
		}
		if desc.Flags&FlagNext == 0 {
			return nil
		}
		if uint32(desc.Next) >= entries {
			return d.fail("descriptor %d of chain %d continues at %d of %d", at, head, desc.Next, entries)
		}
		if len(c.segs) >= int(d.cfg.Size) {
			return d.fail("chain %d is longer than the queue's %d descriptors", head, d.cfg.Size)
		}
		at = desc.Next
	}
}

// Complete gives chain c back, saying how many bytes of its writable part were written
// from its start. It does not interrupt: see NeedInterrupt.
func (d *Device) Complete(c *Chain, written uint32) error {
	if d.broken != nil {
		return d.broken
	}
	if int(c.head) >= len(d.inFlight) || !d.inFlight[c.head] {
		return fmt.Errorf("%s queue %d: chain %d completed but not in flight", d.cfg.Device, d.cfg.Index, c.head)
	}
	var elem [usedEntry]byte
	binary.LittleEndian.PutUint32(elem[:], uint32(c.head))
	binary.LittleEndian.PutUint32(elem[4:], written)
	if err := d.mem.WriteAt(d.cfg.Used+UsedEntry(d.nextUsed&(d.cfg.Size-1)), elem[:], d.source()); err != nil {
		return d.fail("used ring entry %d: %w", d.nextUsed, err)
	}
	d.nextUsed++
	if err := d.mem.WriteUint16(d.cfg.Used+offIdx, d.nextUsed, d.source()); err != nil {
		return d.fail("used.idx: %w", err)
	}
	d.inFlight[c.head] = false
	return nil
}

// NeedInterrupt reports whether the driver wants to hear of what has been completed since
// the last call. Call it once per batch, of fewer than 65536 chains.
func (d *Device) NeedInterrupt() (bool, error) {
	if d.broken != nil {
		return false, d.broken
	}
	if d.nextUsed == d.signalled {
		return false, nil
	}
	if !d.cfg.EventIdx {
		flags, err := d.mem.ReadUint16(d.cfg.Avail+offFlags, d.source())
		if err != nil {
			return false, d.fail("avail.flags: %w", err)
		}
		d.signalled = d.nextUsed
		return flags&AvailNoInterrupt == 0, nil
	}
	event, err := d.mem.ReadUint16(d.cfg.Avail+UsedEventOffset(d.cfg.Size), d.source())
	if err != nil {
		return false, d.fail("used_event: %w", err)
	}
	old := d.signalled
	d.signalled = d.nextUsed
	return NeedEvent(event, d.nextUsed, old), nil
}

// DisableNotify asks the driver not to notify: the device is looking anyway.
func (d *Device) DisableNotify() error {
	if d.broken != nil {
		return d.broken
	}
	if d.cfg.EventIdx {
		return nil // avail_event stays behind, which says the same
	}
	if err := d.mem.WriteUint16(d.cfg.Used+offFlags, UsedNoNotify, d.source()); err != nil {
		return d.fail("used.flags: %w", err)
	}
	return nil
}

// EnableNotify asks for a notification of the next chain and reports whether one is
// waiting already; then no notification will come and the device must look again.
func (d *Device) EnableNotify() (waiting bool, err error) {
	if d.broken != nil {
		return false, d.broken
	}
	if d.cfg.EventIdx {
		err = d.mem.WriteUint16(d.cfg.Used+AvailEventOffset(d.cfg.Size), d.nextAvail, d.source())
	} else {
		err = d.mem.WriteUint16(d.cfg.Used+offFlags, 0, d.source())
	}
	if err != nil {
		return false, d.fail("asking for notifications: %w", err)
	}
	n, err := d.pending()
	return n > 0, err
}

// Segment is one buffer of a chain: Len bytes of guest RAM at GPA Addr.
type Segment struct {
	Addr uint64
	Len  uint32
}

// Chain is a request: a readable part and then a writable part. The zero value is ready
// for Next. Read and Write move through the two parts.
type Chain struct {
	q        *Device
	head     uint16
	src      Source
	segs     []Segment // readable ones, then writable ones
	nRead    int       // how many are readable
	readLen  uint64
	writeLen uint64

	readSeg, writeSeg int    // cursor: segment ...
	readOff, writeOff uint32 // ... and offset in it
}

func (c *Chain) reset(q *Device, head uint16) {
	*c = Chain{q: q, head: head, segs: c.segs[:0]}
	c.src = q.source()
	c.src.Head = int32(head)
}

func (c *Chain) add(desc Desc) error {
	if desc.Len == 0 {
		return errors.New("buffer has no bytes")
	}
	if err := c.q.mem.Check(desc.Addr, uint64(desc.Len)); err != nil {
		return err
	}
	if c.readLen+c.writeLen+uint64(desc.Len) > 1<<32-1 {
		return errors.New("chain has 4 GiB or more")
	}
	if desc.Flags&FlagWrite != 0 {
		c.writeLen += uint64(desc.Len)
	} else {
		if c.writeLen != 0 {
			return errors.New("readable buffer behind a writable one")
		}
		c.readLen += uint64(desc.Len)
		c.nRead++
	}
	c.segs = append(c.segs, Segment{desc.Addr, desc.Len})
	if len(c.segs) == c.nRead {
		c.writeSeg = c.nRead
	}
	return nil
}

// Head is the number of the chain's first descriptor.
func (c *Chain) Head() uint16 { return c.head }

// Readable and Writable are the chain's two parts. They are valid until c goes to Next again.
func (c *Chain) Readable() []Segment { return c.segs[:c.nRead] }
func (c *Chain) Writable() []Segment { return c.segs[c.nRead:] }

// ReadableLen and WritableLen are the bytes of the parts.
func (c *Chain) ReadableLen() uint32 { return uint32(c.readLen) }
func (c *Chain) WritableLen() uint32 { return uint32(c.writeLen) }

// Read copies from the readable part, from where the last Read ended.
func (c *Chain) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && c.readSeg < c.nRead {
		s := c.segs[c.readSeg]
		k := min(len(p)-n, int(s.Len-c.readOff))
		if err := c.q.mem.ReadAt(s.Addr+uint64(c.readOff), p[n:n+k], c.src); err != nil {
			return n, c.q.fail("chain %d: %w", c.head, err)
		}
		n += k
		if c.readOff += uint32(k); c.readOff == s.Len {
			c.readSeg, c.readOff = c.readSeg+1, 0
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write copies to the writable part, from where the last Write ended. What does not fit
// is io.ErrShortWrite.
func (c *Chain) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) && c.writeSeg < len(c.segs) {
		s := c.segs[c.writeSeg]
		k := min(len(p)-n, int(s.Len-c.writeOff))
		if err := c.q.mem.WriteAt(s.Addr+uint64(c.writeOff), p[n:n+k], c.src); err != nil {
			return n, c.q.fail("chain %d: %w", c.head, err)
		}
		n += k
		if c.writeOff += uint32(k); c.writeOff == s.Len {
			c.writeSeg, c.writeOff = c.writeSeg+1, 0
		}
	}
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}
