package socket

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// Outgoing is what one send gives.
type Outgoing struct {
	Data    vfs.Buffer // what is left to be sent
	Flags   int        // MSG_*
	Done    int        // bytes that earlier rounds of this call have moved: errors are left for the next call then
	To      []byte     // nil: the connected peer
	Rights  []*vfs.Description
	Creds   *Credentials // SCM_CREDENTIALS, checked; nil: the sender's own
	Control []Control
}

// Incoming is what one receive takes and what it answers.
type Incoming struct {
	Data  vfs.Buffer
	Flags int // MSG_*
	Done  int // bytes that earlier rounds of this call have moved: errors are left for the next call then

	From    []byte // sender; nil: not told
	Got     int    // MSG_* that describe what was received
	Creds   *Credentials
	Rights  []*vfs.Description // with a reference each, the receiver's
	Control []Control
	End     bool // nothing will follow, or what follows belongs to another message: a stream's receive ends here
}

// Control is a control message (cmsg(3)) that is neither SCM_RIGHTS nor SCM_CREDENTIALS.
type Control struct {
	Level, Type int
	Data        []byte
}

// LocalPID is the kernel's process number pid as the caller knows it in its PID namespace; 0 when it does not.
func LocalPID(c vfs.Caller, pid int) int {
	if t, ok := c.(interface{ Local(n int) int }); ok {
		return t.Local(pid)
	}
	return pid
}

// Credentials are struct ucred.
type Credentials struct {
	PID      int // as the kernel numbers it; 0: nobody
	UID, GID uint32
}

// CredentialsOf answers what the kernel says of a caller: real ids for messages, effective ones for connections (SO_PEERCRED).
func CredentialsOf(c vfs.Caller, effective bool) *Credentials {
	cr := c.Creds()
	if effective {
		return &Credentials{c.PID(), cr.EUID, cr.EGID}
	}
	return &Credentials{c.PID(), cr.UID, cr.GID}
}

// Ucred lays a struct ucred out for a caller. Nobody is pid 0 with the ids given.
func (cr *Credentials) Ucred(c vfs.Caller, nobody uint32) []byte {
	b := make([]byte, 12)
	if cr == nil {
		le.PutUint32(b[4:], nobody)
		le.PutUint32(b[8:], nobody)
		return b
	}
	user := c.Creds().User
	le.PutUint32(b, uint32(LocalPID(c, cr.PID)))
	le.PutUint32(b[4:], user.UID(cr.UID))
	le.PutUint32(b[8:], user.GID(cr.GID))
	return b
}

// Sizes of control messages: struct cmsghdr, and data is aligned to 8 bytes.
const cmsgHeader = 16

func cmsgAlign(n int) int { return (n + 7) &^ 7 }

// ParseControl walks the control messages of a send. Errors: EINVAL for one that does not fit.
func ParseControl(b []byte, each func(level, typ int, data []byte) error) error {
	for len(b) >= cmsgHeader {
		n := le.Uint64(b)
		if n < cmsgHeader || n > uint64(len(b)) {
			return unix.EINVAL
		}
		if err := each(int(int32(le.Uint32(b[8:]))), int(int32(le.Uint32(b[12:]))), b[cmsgHeader:n]); err != nil {
			return err
		}
		b = b[min(cmsgAlign(int(n)), len(b)):]
	}
	return nil
}

// AppendControl adds a control message to b, which may grow to room bytes; cut reports that it did not fit whole (MSG_CTRUNC).
func AppendControl(b []byte, room, level, typ int, data []byte) (out []byte, cut bool) {
	left := room - len(b)
	if left < cmsgHeader {
		return b, true
	}
	if cmsgHeader+len(data) > left {
		data, cut = data[:left-cmsgHeader], true
	}
	b = le.AppendUint64(b, uint64(cmsgHeader+len(data)))
	b = le.AppendUint32(b, uint32(level))
	b = le.AppendUint32(b, uint32(typ))
	b = append(b, data...)
	for pad := cmsgAlign(len(data)) - len(data); pad > 0 && len(b) < room; pad-- {
		b = append(b, 0)
	}
	return b, cut
}
