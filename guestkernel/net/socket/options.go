package socket

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// SO_BUF_LOCK bits: a size that the program chose.
const (
	sendLock = 1
	recvLock = 2
)

// Options that x/sys/unix names differently on some architectures or not at all (asm-generic/socket.h).
const (
	soReserveMem = 73
	soTxRehash   = 74
	soRcvMark    = 75
	soPassPidFD  = 76
)

// booleans are the options that are on or off and read back what was set.
var booleans = map[int]bool{
	unix.SO_DEBUG: true, unix.SO_REUSEADDR: true, unix.SO_REUSEPORT: true, unix.SO_DONTROUTE: true, unix.SO_BROADCAST: true,
	unix.SO_KEEPALIVE: true, unix.SO_OOBINLINE: true, unix.SO_NO_CHECK: true, unix.SO_PASSCRED: true, unix.SO_TIMESTAMP: true,
	unix.SO_TIMESTAMPNS: true, unix.SO_RXQ_OVFL: true, unix.SO_WIFI_STATUS: true, unix.SO_NOFCS: true, unix.SO_LOCK_FILTER: true,
	unix.SO_SELECT_ERR_QUEUE: true, unix.SO_PASSSEC: true, unix.SO_ZEROCOPY: true,
}

// ToInt reads the int that most options are. Errors: EINVAL for fewer bytes.
func ToInt(value []byte) (int, error) {
	if len(value) < 4 {
		return 0, unix.EINVAL
	}
	return int(int32(le.Uint32(value))), nil
}

// Int is an option value of type int, cut to room bytes.
func Int(v, room int) []byte {
	b := le.AppendUint32(nil, uint32(v))
	return b[:min(room, 4)]
}

func boolInt(on bool) int {
	if on {
		return 1
	}
	return 0
}

// SetSocketOption is setsockopt(2) of level SOL_SOCKET, as far as it is the same for all families (sock_setsockopt).
func (b *Base) SetSocketOption(c vfs.Caller, name int, value []byte) error {
	privileged := func(capability int) bool { return c.Creds().Has(capability) }
	if name == unix.SO_BINDTODEVICE {
		return b.bindToDevice(value)
	}
	v, err := ToInt(value)
	if err != nil {
		return err
	}
	switch name {
	case unix.SO_DEBUG:
		if v != 0 && !privileged(unix.CAP_NET_ADMIN) {
			return unix.EACCES
		}
	case unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_ERROR, unix.SO_ACCEPTCONN, unix.SO_PEERCRED, unix.SO_PEERNAME,
		unix.SO_SNDLOWAT, unix.SO_PEERGROUPS:
		return unix.ENOPROTOOPT
	case unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, unix.SO_RCVBUF, unix.SO_RCVBUFFORCE:
		return b.setBuffer(c, name, v)
	case unix.SO_RCVLOWAT:
		switch {
		case v < 0:
			v = math.MaxInt32
		case v == 0:
			v = 1
		}
		b.lowWater.Store(int32(v))
		return nil
	case unix.SO_RCVTIMEO, unix.SO_SNDTIMEO, 66, 67: // and the _NEW ones, which are the same on 64-bit machines
		return b.setTimeout(name, value)
	case unix.SO_LINGER:
		if len(value) < 8 {
			return unix.EINVAL
		}
		if v == 0 {
			b.linger.Store(-1)
		} else {
			b.linger.Store(int64(int32(le.Uint32(value[4:]))) & math.MaxInt32)
		}
		return nil
	case unix.SO_PRIORITY:
		if (v < 0 || v > 6) && !privileged(unix.CAP_NET_ADMIN) && !privileged(unix.CAP_NET_RAW) {
			return unix.EPERM
		}
		b.priority.Store(int32(v))
		return nil
	case unix.SO_MARK:
		if !privileged(unix.CAP_NET_ADMIN) && !privileged(unix.CAP_NET_RAW) {
			return unix.EPERM
		}
		b.mark.Store(uint32(v))
		return nil
	case unix.SO_PEEK_OFF:
		if b.Domain != unix.AF_UNIX && b.Domain != unix.AF_INET && b.Domain != unix.AF_INET6 {
			return unix.EOPNOTSUPP
		}
		b.peekOffset.Store(int32(max(v, -1)))
		return nil
	case unix.SO_INCOMING_CPU:
		b.incoming.Store(int32(v))
		return nil
	case unix.SO_BUSY_POLL:
		if v < 0 {
			return unix.EINVAL
		}
		b.maxBusyPoll.Store(uint32(v))
		return nil
	case unix.SO_MAX_PACING_RATE:
		rate := uint64(uint32(v))
		if len(value) >= 8 {
			rate = le.Uint64(value)
		} else if v == -1 {
			rate = math.MaxUint64
		}
		b.maxPacing.Store(rate)
		return nil
	case unix.SO_BUF_LOCK:
		if v&^(sendLock|recvLock) != 0 {
			return unix.EINVAL
		}
		b.bufferLocks.Store(uint32(v))
		return nil
	case unix.SO_TIMESTAMPING:
		b.timestamping.Store(uint32(v))
		return nil
	case unix.SO_PASSCRED:
		if b.Domain != unix.AF_UNIX && b.Domain != unix.AF_NETLINK {
			return unix.EOPNOTSUPP
		}
	case unix.SO_BSDCOMPAT:
		return nil
	case unix.SO_DETACH_FILTER:
		return unix.ENOENT // none is attached
	case unix.SO_ZEROCOPY:
		if v < 0 || v > 1 {
			return unix.EINVAL
		}
	}
	if booleans[name] {
		b.SetFlag(name, v != 0)
		return nil
	}
	return unix.ENOPROTOOPT
}

// setBuffer doubles what the program asks for, as Linux does to leave room for its bookkeeping.
func (b *Base) setBuffer(c vfs.Caller, name, v int) error {
	force := name == unix.SO_SNDBUFFORCE || name == unix.SO_RCVBUFFORCE
	if force && !c.Creds().Has(unix.CAP_NET_ADMIN) {
		return unix.EPERM
	}
	if force {
		v = max(0, min(v, math.MaxInt32/2))
	} else {
		v = int(min(uint32(v), MaxBuffer)) // a negative size is a large one
	}
	if name == unix.SO_SNDBUF || name == unix.SO_SNDBUFFORCE {
		b.bufferLocks.Or(sendLock)
		b.sendBuffer.Store(int32(max(2*v, MinSend)))
	} else {
		b.bufferLocks.Or(recvLock)
		b.recvBuffer.Store(int32(max(2*v, MinReceive)))
	}
	return nil
}

// setTimeout takes a struct timeval. 0 is no timeout; a negative one does not wait at all.
func (b *Base) setTimeout(name int, value []byte) error {
	if len(value) < 16 {
		return unix.EINVAL
	}
	sec, usec := int64(le.Uint64(value)), int64(le.Uint64(value[8:]))
	if usec < 0 || usec >= 1e6 {
		return unix.EDOM
	}
	t := int64(0)
	switch {
	case sec < 0:
		t = -1
	case sec < math.MaxInt64/int64(time.Second)-1:
		t = sec*int64(time.Second) + usec*int64(time.Microsecond)
	}
	if name == unix.SO_RCVTIMEO || name == 66 {
		b.recvTimeout.Store(t)
	} else {
		b.sendTimeout.Store(t)
	}
	return nil
}

func (b *Base) bindToDevice(value []byte) error {
	name := value[:min(len(value), unix.IFNAMSIZ-1)]
	for i, ch := range name {
		if ch == 0 {
			name = name[:i]
			break
		}
	}
	if s := string(name); s == "" {
		b.device.Store(nil)
	} else if !DeviceExists(s) {
		return unix.ENODEV
	} else {
		b.device.Store(&s)
	}
	return nil
}

// DeviceExists reports whether there is a network interface of that name.
var DeviceExists = func(name string) bool { return name == "lo" }

// Device is SO_BINDTODEVICE, or "".
func (b *Base) Device() string {
	if p := b.device.Load(); p != nil {
		return *p
	}
	return ""
}

// timeval lays out a timeout. One that does not wait at all reads back as 0, like none.
func timeval(ns int64) []byte {
	ns = max(0, ns)
	v := le.AppendUint64(nil, uint64(ns/int64(time.Second)))
	return le.AppendUint64(v, uint64(ns%int64(time.Second)/int64(time.Microsecond)))
}

// SocketOption is getsockopt(2) of level SOL_SOCKET (sock_getsockopt).
func (b *Base) SocketOption(c vfs.Caller, s Socket, name, room int) ([]byte, error) {
	integer := func(v int) ([]byte, error) { return Int(v, room), nil }
	bytes := func(v []byte) ([]byte, error) { return v[:min(room, len(v))], nil }
	switch name {
	case unix.SO_TYPE:
		return integer(b.Type)
	case unix.SO_DOMAIN:
		return integer(b.Domain)
	case unix.SO_PROTOCOL:
		return integer(b.Protocol)
	case unix.SO_ERROR:
		v := 0
		if e, ok := s.TakeError().(unix.Errno); ok {
			v = int(e)
		}
		return integer(v)
	case unix.SO_ACCEPTCONN:
		return integer(boolInt(s.Listening()))
	case unix.SO_SNDBUF:
		return integer(b.SendBuffer())
	case unix.SO_RCVBUF:
		return integer(b.ReceiveBuffer())
	case unix.SO_SNDLOWAT:
		return integer(1)
	case unix.SO_RCVLOWAT:
		return integer(int(b.lowWater.Load()))
	case unix.SO_RCVTIMEO, 66:
		return bytes(timeval(b.recvTimeout.Load()))
	case unix.SO_SNDTIMEO, 67:
		return bytes(timeval(b.sendTimeout.Load()))
	case unix.SO_LINGER:
		on, seconds := b.Linger()
		return bytes(le.AppendUint32(le.AppendUint32(nil, uint32(boolInt(on))), uint32(seconds)))
	case unix.SO_PRIORITY:
		return integer(int(b.priority.Load()))
	case unix.SO_MARK:
		return integer(int(int32(b.mark.Load())))
	case unix.SO_PEEK_OFF:
		return integer(b.PeekOffset())
	case unix.SO_INCOMING_CPU:
		return integer(int(b.incoming.Load()))
	case unix.SO_BUSY_POLL:
		return integer(int(b.maxBusyPoll.Load()))
	case unix.SO_MAX_PACING_RATE:
		if room >= 8 {
			return le.AppendUint64(nil, b.maxPacing.Load()), nil
		}
		return integer(int(min(b.maxPacing.Load(), math.MaxUint32)))
	case unix.SO_BUF_LOCK:
		return integer(int(b.bufferLocks.Load()))
	case unix.SO_TIMESTAMPING:
		return integer(int(b.timestamping.Load()))
	case unix.SO_BSDCOMPAT:
		return integer(0)
	case unix.SO_PASSCRED:
		if b.Domain != unix.AF_UNIX && b.Domain != unix.AF_NETLINK {
			return nil, unix.EOPNOTSUPP
		}
	case unix.SO_PEERCRED:
		return bytes(b.peer.Load().Ucred(c, math.MaxUint32))
	case unix.SO_PEERGROUPS:
		return b.groups(room)
	case unix.SO_PEERNAME:
		addr, err := s.PeerName()
		if err != nil {
			return nil, unix.ENOTCONN
		}
		if len(addr) < room {
			return nil, unix.EINVAL
		}
		return addr[:room], nil
	case unix.SO_BINDTODEVICE:
		d := b.Device()
		if d == "" {
			return nil, nil
		}
		if room < unix.IFNAMSIZ {
			return nil, unix.EINVAL
		}
		return append([]byte(d), 0), nil
	case unix.SO_BPF_EXTENSIONS:
		return integer(64)
	case unix.SO_INCOMING_NAPI_ID, soTxRehash:
		return integer(0)
	case unix.SO_MEMINFO:
		v := make([]byte, 36)
		le.PutUint32(v[4:], uint32(b.ReceiveBuffer()))
		le.PutUint32(v[12:], uint32(b.SendBuffer()))
		return bytes(v)
	case unix.SO_GET_FILTER:
		return nil, nil // none is attached
	}
	if booleans[name] {
		return integer(boolInt(b.Flag(name)))
	}
	return nil, unix.ENOPROTOOPT
}

// groups is SO_PEERGROUPS: ERANGE when they do not fit.
func (b *Base) groups(room int) ([]byte, error) {
	if b.peer.Load() == nil {
		return nil, unix.ENODATA
	}
	var v []byte
	if g := b.peerGroups.Load(); g != nil {
		for _, gid := range *g {
			v = le.AppendUint32(v, gid)
		}
	}
	if len(v) > room {
		return v, unix.ERANGE
	}
	return v, nil
}

// Set is setsockopt(2): families are told of socket-level options too, after they were stored.
func (f *File) Set(c vfs.Caller, level, name int, value []byte) error {
	if level == unix.SOL_SOCKET {
		if err := f.Common().SetSocketOption(c, name, value); err != nil {
			return err
		}
		if s, ok := f.Socket.(OptionFollower); ok {
			return s.Follow(name)
		}
		return nil
	}
	return f.SetOption(c, level, name, value)
}

// OptionFollower is a Socket that has to act on changes of SOL_SOCKET options.
type OptionFollower interface {
	// Follow is called after option name has changed in Base.
	Follow(name int) error
}

// Get is getsockopt(2): at most room bytes.
func (f *File) Get(c vfs.Caller, level, name, room int) ([]byte, error) {
	if level == unix.SOL_SOCKET {
		return f.Common().SocketOption(c, f.Socket, name, room)
	}
	return f.Option(c, level, name, room)
}
