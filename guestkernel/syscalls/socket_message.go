package syscalls

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"sendto": sendTo, "recvfrom": recvFrom, "sendmsg": sendMsg, "recvmsg": recvMsg, "sendmmsg": sendMMsg, "recvmmsg": recvMMsg,
	})
}

const (
	msghdrSize  = 56   // struct msghdr of a 64-bit machine
	mmsghdrSize = 64   // and struct mmsghdr: the length is behind it
	maxVector   = 1024 // UIO_MAXIOV
	maxRights   = 253  // SCM_MAX_FD
	maxControl  = 128 << 10
	nobody      = 65534 // overflowuid: credentials that nobody asked for when the message was sent
)

func sendTo(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	m := socket.Outgoing{Flags: a.Int(3)}
	if m.Data, err = userBuffer(t, a[1], a[2]); err != nil {
		return 0, err
	}
	if a[4] != 0 {
		if m.To, err = getAddress(t, a[4], a.Int(5)); err != nil {
			return 0, err
		}
		if len(m.To) == 0 {
			m.To = nil
		}
	}
	n, err := s.Transmit(t, d, &m)
	return uint64(n), err
}

func recvFrom(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	m := socket.Incoming{Flags: a.Int(3)}
	if m.Data, err = userBuffer(t, a[1], a[2]); err != nil {
		return 0, err
	}
	n, err := s.Recv(t, d, &m)
	for _, r := range m.Rights {
		r.Unref()
	}
	if err == nil && a[4] != 0 {
		err = putAddress(t, a[4], a[5], m.From)
	}
	return uint64(n), err
}

// msghdr is struct msghdr.
type msghdr struct {
	name, control      uint64
	nameLen            int32
	controlLen, vecLen uint64
	vec                uint64
}

func getMsghdr(t *task.Task, addr uint64) (h msghdr, err error) {
	var b [msghdrSize]byte
	if err = t.CopyInUser(addr, b[:]); err != nil {
		return h, err
	}
	h = msghdr{
		name: le.Uint64(b[0:]), nameLen: int32(le.Uint32(b[8:])), vec: le.Uint64(b[16:]), vecLen: le.Uint64(b[24:]),
		control: le.Uint64(b[32:]), controlLen: le.Uint64(b[40:]),
	}
	if h.name == 0 {
		h.nameLen = 0
	}
	switch {
	case h.nameLen < 0:
		return h, unix.EINVAL
	case h.vecLen > maxVector:
		return h, unix.EMSGSIZE
	}
	h.nameLen = min(h.nameLen, socket.MaxAddress)
	return h, nil
}

func sendMsg(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return sendMessage(t, d, s, a[1], a.Int(2))
}

func sendMessage(t *task.Task, d *vfs.Description, s *socket.File, addr uint64, flags int) (uint64, error) {
	h, err := getMsghdr(t, addr)
	if err != nil {
		return 0, err
	}
	m := socket.Outgoing{Flags: flags}
	if h.nameLen > 0 {
		if m.To, err = getAddress(t, h.name, int(h.nameLen)); err != nil {
			return 0, err
		}
	}
	if m.Data, err = t.VecBuffer(h.vec, int(h.vecLen)); err != nil {
		return 0, err
	}
	if h.controlLen > maxControl {
		return 0, unix.ENOBUFS
	}
	if h.controlLen > 0 {
		control := make([]byte, h.controlLen)
		if err := t.CopyInUser(h.control, control); err != nil {
			return 0, err
		}
		err := socket.ParseControl(control, func(level, typ int, data []byte) error { return takeControl(t, s, &m, level, typ, data) })
		defer dropRights(m.Rights) // a message that was queued has references of its own
		if err != nil {
			return 0, err
		}
	}
	n, err := s.Transmit(t, d, &m)
	return uint64(n), err
}

func dropRights(files []*vfs.Description) {
	for _, d := range files {
		d.Unref()
	}
}

// takeControl adds a control message to m. Rights get a reference each.
func takeControl(t *task.Task, s *socket.File, m *socket.Outgoing, level, typ int, data []byte) error {
	if level != unix.SOL_SOCKET {
		if s.Common().Domain != unix.AF_UNIX {
			m.Control = append(m.Control, socket.Control{Level: level, Type: typ, Data: data})
		}
		return nil
	}
	local := s.Common().Domain == unix.AF_UNIX
	switch {
	case typ == unix.SCM_RIGHTS && local:
		for ; len(data) >= 4; data = data[4:] {
			if len(m.Rights) == maxRights {
				return unix.EINVAL
			}
			r, err := t.FDs().Get(int(int32(le.Uint32(data))))
			if err != nil {
				return err
			}
			m.Rights = append(m.Rights, r)
		}
		return nil
	case typ == unix.SCM_CREDENTIALS && (local || s.Common().Domain == unix.AF_NETLINK):
		if len(data) != 12 {
			return unix.EINVAL
		}
		c, err := claimed(t, int(int32(le.Uint32(data))), le.Uint32(data[4:]), le.Uint32(data[8:]))
		m.Creds = c
		return err
	case typ == unix.SCM_RIGHTS || typ == unix.SCM_CREDENTIALS:
		return nil
	case !local:
		m.Control = append(m.Control, socket.Control{Level: level, Type: typ, Data: data})
		return nil
	}
	return unix.EINVAL
}

// claimed checks the credentials that a sender claims: its own, unless it is privileged (scm_check_creds).
func claimed(t *task.Task, pid int, uid, gid uint32) (*socket.Credentials, error) {
	cr := t.Creds()
	pid, uid, gid = t.Global(pid), cr.User.KernelUID(uid), cr.User.KernelGID(gid)
	if pid != t.PID() {
		if !cr.Has(unix.CAP_SYS_ADMIN) {
			return nil, unix.EPERM
		}
		if t.Kernel().FindGroup(pid) == nil {
			return nil, unix.ESRCH
		}
	}
	if uid != cr.UID && uid != cr.EUID && uid != cr.SUID && !cr.Has(unix.CAP_SETUID) {
		return nil, unix.EPERM
	}
	if gid != cr.GID && gid != cr.EGID && gid != cr.SGID && !cr.Has(unix.CAP_SETGID) {
		return nil, unix.EPERM
	}
	return &socket.Credentials{PID: pid, UID: uid, GID: gid}, nil
}

func recvMsg(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	return receiveMessage(t, d, s, a[1], a.Int(2))
}

func receiveMessage(t *task.Task, d *vfs.Description, s *socket.File, addr uint64, flags int) (uint64, error) {
	h, err := getMsghdr(t, addr)
	if err != nil {
		return 0, err
	}
	m := socket.Incoming{Flags: flags}
	if m.Data, err = t.VecBuffer(h.vec, int(h.vecLen)); err != nil {
		return 0, err
	}
	n, err := s.Recv(t, d, &m)
	if err != nil {
		dropRights(m.Rights)
		return 0, err
	}
	got := m.Got | flags&unix.MSG_CMSG_CLOEXEC
	control, truncated, err := putControl(t, s, &m, h, flags&unix.MSG_CMSG_CLOEXEC != 0)
	if err != nil {
		return 0, err
	}
	if truncated {
		got |= unix.MSG_CTRUNC
	}
	if h.name != 0 {
		if err := t.CopyOutUser(h.name, m.From[:min(len(m.From), int(h.nameLen))]); err != nil {
			return 0, err
		}
		if err := vfs.PutInt32(t, addr+8, int32(len(m.From))); err != nil {
			return 0, err
		}
	}
	if err := vfs.PutInt32(t, addr+48, int32(got)); err != nil {
		return 0, err
	}
	return uint64(n), putUint64s(t, addr+40, uint64(control))
}

// putControl writes the control messages of m and installs its descriptors, as many as there is room for. It answers the length of all and
// whether something did not fit.
func putControl(t *task.Task, s *socket.File, m *socket.Incoming, h msghdr, cloexec bool) (int, bool, error) {
	room := int(min(h.controlLen, maxControl))
	if h.control == 0 {
		room = 0
	}
	var b []byte
	truncated := false
	put := func(level, typ int, data []byte) {
		var cut bool
		b, cut = socket.AppendControl(b, room, level, typ, data)
		truncated = truncated || cut
	}
	if s.Common().Flag(unix.SO_PASSCRED) {
		put(unix.SOL_SOCKET, unix.SCM_CREDENTIALS, m.Creds.Ucred(t, nobody))
	}
	for _, c := range m.Control {
		put(c.Level, c.Type, c.Data)
	}
	if len(m.Rights) > 0 {
		fits := max(0, (room-len(b)-16)/4)
		var fds []byte
		for i, r := range m.Rights {
			if i < fits {
				if fd, err := t.FDs().Install(r, 0, cloexec, t.Rlimit(unix.RLIMIT_NOFILE)); err == nil {
					fds = le.AppendUint32(fds, uint32(fd))
					continue
				}
				fits = i
			}
			truncated = true
			r.Unref()
		}
		m.Rights = nil
		if len(fds) > 0 {
			put(unix.SOL_SOCKET, unix.SCM_RIGHTS, fds)
		}
	}
	return len(b), truncated, t.CopyOutUser(h.control, b)
}

func sendMMsg(t *task.Task, a Args) (uint64, error) {
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	count := min(a.Uint(2), maxVector)
	for i := range uint64(count) {
		at := a[1] + i*mmsghdrSize
		n, err := sendMessage(t, d, s, at, a.Int(3))
		if err == nil {
			err = putUint32(t, at+msghdrSize, uint32(n))
		}
		if err != nil {
			if i > 0 {
				err = nil
			}
			return i, err
		}
	}
	return uint64(count), nil
}

func recvMMsg(t *task.Task, a Args) (uint64, error) {
	flags := a.Int(3)
	to, err := loadTimeout(t, a[4], 1)
	if err != nil {
		return 0, err
	}
	d, s, err := getSocket(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	if err := s.TakeError(); err != nil {
		return 0, err
	}
	count := uint64(min(a.Uint(2), maxVector))
	n := uint64(0)
	for n < count {
		at := a[1] + n*mmsghdrSize
		var got uint64
		got, err = receiveMessage(t, d, s, at, flags&^unix.MSG_WAITFORONE)
		if err == nil {
			err = putUint32(t, at+msghdrSize, uint32(got))
		}
		if err != nil {
			break
		}
		n++
		if flags&unix.MSG_WAITFORONE != 0 {
			flags |= unix.MSG_DONTWAIT
		}
		// The time is looked at between messages only, as in Linux.
		if a[4] != 0 && (!to.block || !to.deadline.IsZero() && !time.Now().Before(to.deadline)) {
			break
		}
	}
	to.store(t)
	if n > 0 {
		err = nil
	}
	return n, err
}
