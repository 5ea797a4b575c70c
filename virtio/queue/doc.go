// Package queue is the split virtqueue (virtio 1.2, section 2.7): its layout, the device's
// end of it (Device) and the driver's end (Driver). The monitor and the kernel both import
// it; nothing else in the tree knows where a ring index lives.
//
// The device side is written against a hostile driver. Ring addresses and the size are
// validated once, when the queue becomes ready, and frozen; every descriptor is copied once
// and judged from the copy; a chain is never longer than the queue; whatever is malformed
// ends in an error wrapping ErrBroken, after which the device must stop using the queue and
// report NEEDS_RESET. Guest memory is only touched through Memory, with a Source that says
// on whose behalf.
//
// The driver side does not follow the device blindly either: a used entry must name a chain
// that is in flight.
//
// Neither side locks: one goroutine at a time may use a Device or a Driver.
package queue
