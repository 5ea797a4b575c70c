package socket

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// File is an open socket. Its methods may block in the caller's Sleep, but for those of vfs.File.
type File struct {
	vfs.StreamFile
	Socket
}

var _ vfs.Conversation = (*File)(nil)

// Register implements wait.Source.
func (f *File) Register(e *wait.Entry, m wait.Mask) { f.Socket.Register(e, m) }

// AsyncEvents implements vfs.Asynchronous.
func (f *File) AsyncEvents() (wait.Mask, bool) {
	return wait.In | wait.Out | wait.Pri | wait.Err | wait.Hup | wait.RdHup, false
}

// Unregister implements wait.Source.
func (f *File) Unregister(e *wait.Entry) { f.Socket.Unregister(e) }

// Readiness implements vfs.File.
func (f *File) Readiness(*vfs.Description) wait.Mask { return f.Socket.Readiness() }

// Ioctl implements vfs.File.
func (f *File) Ioctl(c vfs.Caller, d *vfs.Description, cmd uint32, arg uint64) (uint64, error) {
	switch cmd {
	case fiosetown, siocspgrp:
		pid, err := vfs.GetInt32(c, arg)
		if err != nil {
			return 0, err
		}
		return 0, d.SetOwnerNumber(c, int(pid))
	case fiogetown, siocgpgrp:
		return 0, vfs.PutInt32(c, arg, int32(d.OwnerNumber(c)))
	}
	if cmd >= firstInterface && cmd <= lastInterface && Interfaces != nil {
		return 0, Interfaces(c, cmd, arg)
	}
	return f.Socket.Ioctl(c, cmd, arg)
}

// Interfaces serves the requests about network devices (netdevice(7)), which sockets of all families take. Set during package initialisation.
var Interfaces func(c vfs.Caller, cmd uint32, arg uint64) error

// Requests that all sockets know (asm-generic/sockios.h).
const (
	fiosetown = 0x8901
	siocspgrp = 0x8902
	fiogetown = 0x8903
	siocgpgrp = 0x8904

	firstInterface = 0x8910 // SIOCGIFNAME
	lastInterface  = 0x8970
)

// Release implements vfs.File.
func (f *File) Release(*vfs.Description) { f.Socket.Release() }

// Receive implements vfs.Conversation: read(2). Nothing is asked for nothing.
func (f *File) Receive(c vfs.Caller, d *vfs.Description, dst vfs.Buffer) (int, error) {
	if dst.Len() == 0 {
		return 0, nil
	}
	m := Incoming{Data: dst}
	n, err := f.Recv(c, d, &m)
	f.discard(&m)
	return n, err
}

// Send implements vfs.Conversation: write(2).
func (f *File) Send(c vfs.Caller, d *vfs.Description, src vfs.Buffer) (int, error) {
	return f.Transmit(c, d, &Outgoing{Data: src})
}

// discard closes descriptors that came with data that was read by a call that cannot take them.
func (f *File) discard(m *Incoming) {
	for _, r := range m.Rights {
		r.Unref()
	}
	m.Rights = nil
}

// block calls try until it does not block, for as long as timeout (ns; 0: any time). Without wait it answers none at once, and after the
// timeout late.
func (f *File) block(c vfs.Caller, nonBlock bool, mask wait.Mask, timeout int64, none, late error, try func() error) error {
	err := try()
	if err != wait.ErrWouldBlock {
		return err
	}
	if nonBlock || timeout < 0 {
		return none
	}
	err = wait.Block(c, f.Socket, mask, deadline(timeout), try)
	switch {
	case err == wait.ErrTimedOut:
		return late
	case err == wait.ErrRestart && timeout > 0:
		return unix.EINTR // sock_intr_errno: a call with a timeout is not restarted
	}
	return err
}

// LowMemory reports that the kernel runs out of memory for its own heap: sends and new sockets are ENOBUFS then, because what they queue is kept
// there for as long as a program likes. Set before the first program starts.
var LowMemory = func() bool { return false }

// Transmit is sendmsg(2).
func (f *File) Transmit(c vfs.Caller, d *vfs.Description, m *Outgoing) (int, error) {
	if LowMemory() {
		return 0, unix.ENOBUFS
	}
	b := f.Common()
	done := 0
	nonBlock := d.NonBlocking() || m.Flags&unix.MSG_DONTWAIT != 0
	err := f.block(c, nonBlock, wait.Writable, b.sendTimeout.Load(), unix.EAGAIN, unix.EAGAIN, func() error {
		m.Done = done
		n, err := f.Socket.Send(c, m)
		done += n
		if n > 0 {
			m.Data, m.Rights = vfs.Slice(m.Data, n, m.Data.Len()-n), nil
			if err == nil && b.stream() && m.Data.Len() > 0 {
				err = wait.ErrWouldBlock
			}
		}
		return err
	})
	if done > 0 {
		return done, nil
	}
	if err == unix.EPIPE && b.stream() && m.Flags&unix.MSG_NOSIGNAL == 0 {
		c.Signal(unix.SIGPIPE)
	}
	return 0, err
}

// Recv is recvmsg(2).
func (f *File) Recv(c vfs.Caller, d *vfs.Description, m *Incoming) (int, error) {
	b := f.Common()
	nonBlock := d.NonBlocking() || m.Flags&unix.MSG_DONTWAIT != 0
	if m.Flags&unix.MSG_ERRQUEUE != 0 {
		nonBlock = true
	}
	if nonBlock {
		m.Flags |= unix.MSG_DONTWAIT
	}
	want := 1
	if b.stream() {
		if want = max(1, min(int(b.lowWater.Load()), m.Data.Len())); m.Flags&unix.MSG_WAITALL != 0 {
			want = max(1, m.Data.Len())
		}
	}
	done, all := 0, m.Data
	err := f.block(c, nonBlock, wait.Readable, b.recvTimeout.Load(), unix.EAGAIN, unix.EAGAIN, func() error {
		if m.Flags&unix.MSG_PEEK != 0 {
			done = 0 // look at all of it again
		}
		m.Data, m.Done = vfs.Slice(all, done, all.Len()-done), done
		n, err := f.Socket.Receive(c, m)
		if err != nil {
			return err
		}
		done += n
		if b.stream() && done < want && !m.End && n > 0 {
			return wait.ErrWouldBlock
		}
		return nil
	})
	if done > 0 {
		return done, nil
	}
	return 0, err
}

// AcceptFile is accept4(2) up to the descriptor.
func (f *File) AcceptFile(c vfs.Caller, d *vfs.Description, flags uint32) (*vfs.Description, error) {
	var s Socket
	err := f.block(c, d.NonBlocking(), wait.Readable, f.Common().recvTimeout.Load(), unix.EAGAIN, unix.EAGAIN, func() (err error) {
		s, err = f.Socket.Accept(c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return Open(c, s, flags)
}

// ErrConnecting is what Connect answers when an earlier call has begun to connect and that goes on.
const ErrConnecting = unix.Errno(602)

// ConnectTo is connect(2).
func (f *File) ConnectTo(c vfs.Caller, d *vfs.Description, addr []byte) error {
	none := families[f.Common().Domain].InProgress
	begun := false
	return f.block(c, d.NonBlocking(), wait.Writable, f.Common().sendTimeout.Load(), none, none, func() error {
		err := f.Socket.Connect(c, addr, begun)
		if err == ErrConnecting {
			if err = wait.ErrWouldBlock; d.NonBlocking() {
				err = unix.EALREADY
			}
		}
		begun = true
		return err
	})
}
