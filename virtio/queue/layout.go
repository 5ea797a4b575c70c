package queue

import "encoding/binary"

// Descriptor flags (virtio 1.2, section 2.7.5).
const (
	FlagNext     = 1 << 0 // Next holds the chain's following descriptor
	FlagWrite    = 1 << 1 // the device writes this buffer; otherwise it reads it
	FlagIndirect = 1 << 2 // the buffer is a table of descriptors
	flagsKnown   = FlagNext | FlagWrite | FlagIndirect
)

// Ring flags: hints, used only when FeatureEventIdx was not negotiated.
const (
	AvailNoInterrupt = 1 << 0 // in avail.flags: the driver wants no interrupt
	UsedNoNotify     = 1 << 0 // in used.flags: the device wants no notification
)

// Feature bits that belong to the queue (virtio 1.2, section 6), as masks.
const (
	FeatureIndirect = 1 << 28
	FeatureEventIdx = 1 << 29
	FeatureVersion1 = 1 << 32
)

// MaxSize is the largest number of descriptors a split queue may have.
const MaxSize = 32768

// Sizes in bytes and alignments of the three areas, and offsets within a ring.
const (
	DescSize   = 16
	DescAlign  = 16
	AvailAlign = 2
	UsedAlign  = 4

	offFlags = 0
	offIdx   = 2
	offRing  = 4

	availEntry = 2
	usedEntry  = 8
)

// TableBytes is the size of a descriptor table of n entries.
func TableBytes(n uint16) uint64 { return uint64(n) * DescSize }

// AvailBytes is the size of an available ring of n entries, used_event included.
func AvailBytes(n uint16) uint64 { return offRing + uint64(n)*availEntry + 2 }

// UsedBytes is the size of a used ring of n entries, avail_event included.
func UsedBytes(n uint16) uint64 { return offRing + uint64(n)*usedEntry + 2 }

// AvailEntry, UsedEventOffset, UsedEntry and AvailEventOffset are byte offsets: of ring
// entry i, and of the event index behind a ring of n entries.
func AvailEntry(i uint16) uint64       { return offRing + uint64(i)*availEntry }
func UsedEntry(i uint16) uint64        { return offRing + uint64(i)*usedEntry }
func UsedEventOffset(n uint16) uint64  { return offRing + uint64(n)*availEntry }
func AvailEventOffset(n uint16) uint64 { return offRing + uint64(n)*usedEntry }

// Desc is one descriptor.
type Desc struct {
	Addr  uint64 // GPA
	Len   uint32 // bytes
	Flags uint16
	Next  uint16
}

// Put writes the descriptor's 16 bytes.
func (d Desc) Put(p []byte) {
	_ = p[DescSize-1]
	binary.LittleEndian.PutUint64(p, d.Addr)
	binary.LittleEndian.PutUint32(p[8:], d.Len)
	binary.LittleEndian.PutUint16(p[12:], d.Flags)
	binary.LittleEndian.PutUint16(p[14:], d.Next)
}

// ParseDesc reads a descriptor's 16 bytes.
func ParseDesc(p []byte) Desc {
	_ = p[DescSize-1]
	return Desc{
		Addr:  binary.LittleEndian.Uint64(p),
		Len:   binary.LittleEndian.Uint32(p[8:]),
		Flags: binary.LittleEndian.Uint16(p[12:]),
		Next:  binary.LittleEndian.Uint16(p[14:]),
	}
}

// ValidSize reports whether a queue may have n descriptors: a power of two up to max.
func ValidSize(n, max uint32) bool {
	return n != 0 && n&(n-1) == 0 && n <= max && n <= MaxSize
}

// NeedEvent reports whether moving an index from old to new passes event: whether the
// other side asked to hear of it (virtio 1.2, section 2.7.7.2; Linux vring_need_event).
func NeedEvent(event, new, old uint16) bool {
	return new-event-1 < new-old
}
