// Package socket is what all address families have in common (socket(7)): the file behind a descriptor, waiting with timeouts, the
// options of level SOL_SOCKET, control messages.
//
//	File    an open socket: vfs.File over a Socket; waits for it (file.go, transfer.go)
//	Socket  what a family does: package afunix, inet, netlink. Never blocks
//	Base    the state that every family has: options, wait queue (base.go, options.go)
//	Family  makes sockets of a domain; families register themselves (family.go)
//
// A Socket answers [wait.ErrWouldBlock] where Linux would sleep; File waits on the socket's queue, for the time that SO_RCVTIMEO or
// SO_SNDTIMEO say, unless O_NONBLOCK or MSG_DONTWAIT. Socket addresses are raw bytes, as sockaddr has them, of at most [MaxAddress].
//
// Lock order: a socket's own locks, then mm.Space.mu through buffer copies, then wait queues. Files are closed without a socket's lock.
package socket
