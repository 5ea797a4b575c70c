package queue

import "fmt"

// Source says on whose behalf guest memory is touched, so that a report can read
// "DMA by virtio-blk, queue 0, head 12". It is a plain value: making one allocates nothing.
type Source struct {
	// Device is the device's name ("virtio-console"), or what else touches memory
	// ("loader", "debugger").
	Device string
	// Queue is the queue's index and Head the chain's first descriptor, or -1 for none.
	Queue int32
	Head  int32
}

// NoQueue is the Source of an access that no queue asked for.
func NoQueue(name string) Source { return Source{Device: name, Queue: -1, Head: -1} }

// String is the Source as reports print it.
func (s Source) String() string {
	switch {
	case s.Queue < 0:
		return s.Device
	case s.Head < 0:
		return fmt.Sprintf("%s, queue %d", s.Device, s.Queue)
	default:
		return fmt.Sprintf("%s, queue %d, head %d", s.Device, s.Queue, s.Head)
	}
}

// Memory is guest RAM as a device sees it: the monitor's one accessor. Addresses are
// guest-physical (GPA). A range that is not RAM from its first to its last byte, or that
// wraps, is an error and leaves both memories unchanged. Safe for concurrent use.
type Memory interface {
	// Check reports whether size bytes at gpa are RAM. Size 0 is always fine.
	Check(gpa, size uint64) error
	// ReadAt copies len(p) bytes at gpa into p. The guest may change them meanwhile.
	ReadAt(gpa uint64, p []byte, src Source) error
	// WriteAt copies p to gpa.
	WriteAt(gpa uint64, p []byte, src Source) error
	// ReadUint16 and WriteUint16 access two bytes at an even gpa as one sequentially
	// consistent atomic access: ring indices order everything else.
	ReadUint16(gpa uint64, src Source) (uint16, error)
	WriteUint16(gpa uint64, v uint16, src Source) error
}
