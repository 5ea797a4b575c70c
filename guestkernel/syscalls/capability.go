package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{"capget": sysCapget, "capset": sysCapset})
}

// capHeader reads a cap_user_header_t: the number of words of each set, and the thread. An unknown version is answered with the known one. The error
// is EINVAL, for a header that only asks for the version with words 0.
func capHeader(t *task.Task, addr uint64) (words, tid int, err error) {
	var head [8]byte
	if err := t.CopyInUser(addr, head[:]); err != nil {
		return 0, 0, err
	}
	tid = int(int32(le.Uint32(head[4:])))
	switch le.Uint32(head[:]) {
	case unix.LINUX_CAPABILITY_VERSION_1:
		return 1, tid, nil
	case unix.LINUX_CAPABILITY_VERSION_2, unix.LINUX_CAPABILITY_VERSION_3:
		return 2, tid, nil
	}
	if err := putUint32(t, addr, unix.LINUX_CAPABILITY_VERSION_3); err != nil {
		return 0, 0, err
	}
	return 0, 0, unix.EINVAL
}

// sysCapget answers capability sets, version 3 (two words of each set) or 1.
func sysCapget(t *task.Task, a Args) (uint64, error) {
	words, tid, err := capHeader(t, a[0])
	if err == unix.EINVAL && a[1] == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	target := t
	if tid < 0 {
		return 0, unix.EINVAL
	}
	if tid != 0 {
		if target = t.Kernel().Find(t.Global(tid)); target == nil {
			return 0, unix.ESRCH
		}
	}
	if a[1] == 0 {
		return 0, nil
	}
	c := target.Creds()
	b := make([]byte, 12*words)
	for i := range words {
		le.PutUint32(b[12*i:], uint32(c.Effective>>(32*i)))
		le.PutUint32(b[12*i+4:], uint32(c.Permitted>>(32*i)))
		le.PutUint32(b[12*i+8:], uint32(c.Inheritable>>(32*i)))
	}
	return 0, t.CopyOutUser(a[1], b)
}

func sysCapset(t *task.Task, a Args) (uint64, error) {
	words, tid, err := capHeader(t, a[0])
	if err != nil {
		return 0, err
	}
	if tid != 0 && tid != t.OwnTID() {
		return 0, unix.EPERM
	}
	b := make([]byte, 24)
	if err := t.CopyInUser(a[1], b[:12*words]); err != nil {
		return 0, err
	}
	set := func(at int) vfs.CapSet {
		return vfs.CapSet(binary.LittleEndian.Uint32(b[at:]))&vfs.AllCaps | vfs.CapSet(binary.LittleEndian.Uint32(b[12+at:]))<<32&vfs.AllCaps
	}
	c := *t.Creds()
	effective, permitted, inheritable := set(0), set(4), set(8)
	if !c.MayCapset(effective, inheritable, permitted, c.Effective.Has(unix.CAP_SETPCAP)) {
		return 0, unix.EPERM
	}
	c.Effective, c.Permitted, c.Inheritable = effective, permitted, inheritable
	c.Ambient &= permitted & inheritable
	t.SetCreds(&c)
	return 0, nil
}

// dropBounding is prctl(PR_CAPBSET_DROP).
func dropBounding(t *task.Task, capability uint64) error {
	c := *t.Creds()
	switch {
	case !c.Effective.Has(unix.CAP_SETPCAP):
		return unix.EPERM
	case capability > unix.CAP_LAST_CAP:
		return unix.EINVAL
	}
	c.Bounding &^= 1 << capability
	t.SetCreds(&c)
	return nil
}

// ambient is prctl(PR_CAP_AMBIENT).
func ambient(t *task.Task, op, capability, zero1, zero2 uint64) (uint64, error) {
	c := *t.Creds()
	if op == unix.PR_CAP_AMBIENT_CLEAR_ALL {
		if capability != 0 || zero1 != 0 || zero2 != 0 {
			return 0, unix.EINVAL
		}
		c.Ambient = 0
		t.SetCreds(&c)
		return 0, nil
	}
	if capability > unix.CAP_LAST_CAP || zero1 != 0 || zero2 != 0 {
		return 0, unix.EINVAL
	}
	bit := vfs.CapSet(1) << capability
	switch op {
	case unix.PR_CAP_AMBIENT_IS_SET:
		return btoi(c.Ambient&bit != 0), nil
	case unix.PR_CAP_AMBIENT_RAISE:
		if c.Permitted&c.Inheritable&bit == 0 || c.Secure&vfs.SecureNoAmbient != 0 {
			return 0, unix.EPERM
		}
		c.Ambient |= bit
	case unix.PR_CAP_AMBIENT_LOWER:
		c.Ambient &^= bit
	default:
		return 0, unix.EINVAL
	}
	t.SetCreds(&c)
	return 0, nil
}

// setSecureBits is prctl(PR_SET_SECUREBITS): what is locked stays, and only CAP_SETPCAP may.
func setSecureBits(t *task.Task, bits uint64) error {
	c := *t.Creds()
	old := uint64(c.Secure)
	locked := old & vfs.SecureLocks
	switch {
	case locked>>1&(old^bits) != 0, locked&^bits != 0, bits&^uint64(vfs.SecureAll) != 0, !c.Effective.Has(unix.CAP_SETPCAP):
		return unix.EPERM
	}
	c.Secure = uint32(bits)
	t.SetCreds(&c)
	return nil
}

// setKeepCaps is prctl(PR_SET_KEEPCAPS).
func setKeepCaps(t *task.Task, on uint64) error {
	c := *t.Creds()
	switch {
	case on > 1:
		return unix.EINVAL
	case c.Secure&(vfs.SecureKeepCaps<<1) != 0:
		return unix.EPERM
	}
	c.Secure &^= vfs.SecureKeepCaps
	if on == 1 {
		c.Secure |= vfs.SecureKeepCaps
	}
	t.SetCreds(&c)
	return nil
}
