package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{"prctl": sysPrctl})
}

func sysPrctl(t *task.Task, a Args) (uint64, error) {
	switch a.Int(0) {
	case unix.PR_SET_NAME:
		name, err := t.Space().CopyInString(a[1], 4096)
		if err != nil {
			return 0, err
		}
		t.SetComm(name)
	case unix.PR_GET_NAME:
		var b [16]byte
		copy(b[:15], t.Comm())
		return 0, t.CopyOutUser(a[1], b[:])
	case unix.PR_SET_PDEATHSIG:
		if a[1] > task.NumSignals {
			return 0, unix.EINVAL
		}
		t.SetParentDeathSignal(int(a[1]))
	case unix.PR_GET_PDEATHSIG:
		return 0, putUint32(t, a[1], uint32(t.ParentDeathSignal()))
	case unix.PR_SET_CHILD_SUBREAPER:
		t.Group().SetSubreaper(a[1] != 0)
	case unix.PR_GET_CHILD_SUBREAPER:
		return 0, putUint32(t, a[1], uint32(btoi(t.Group().Subreaper())))
	case unix.PR_GET_DUMPABLE:
		return btoi(t.Group().Dumpable()), nil
	case unix.PR_SET_DUMPABLE:
		if a[1] > 1 {
			return 0, unix.EINVAL
		}
		t.Group().SetDumpable(a[1] == 1)
	case unix.PR_SET_NO_NEW_PRIVS:
		if a[1] != 1 || a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		t.SetNoNewPrivileges()
	case unix.PR_GET_NO_NEW_PRIVS:
		if a[1] != 0 || a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		return btoi(t.NoNewPrivileges()), nil
	case unix.PR_CAPBSET_READ:
		if a[1] > unix.CAP_LAST_CAP {
			return 0, unix.EINVAL
		}
		return btoi(t.Creds().Bounding.Has(int(a[1]))), nil
	case unix.PR_CAPBSET_DROP:
		return 0, dropBounding(t, a[1])
	case unix.PR_CAP_AMBIENT:
		return ambient(t, a[1], a[2], a[3], a[4])
	case unix.PR_GET_SECUREBITS:
		return uint64(t.Creds().Secure), nil
	case unix.PR_SET_SECUREBITS:
		return 0, setSecureBits(t, a[1])
	case unix.PR_GET_KEEPCAPS:
		return btoi(t.Creds().Secure&vfs.SecureKeepCaps != 0), nil
	case unix.PR_SET_KEEPCAPS:
		return 0, setKeepCaps(t, a[1])
	case unix.PR_GET_SECCOMP, unix.PR_GET_THP_DISABLE:
		return 0, nil
	case unix.PR_GET_TIMERSLACK:
		return t.TimerSlack(), nil
	case unix.PR_SET_TIMERSLACK:
		t.SetTimerSlack(a[1])
	case unix.PR_GET_TID_ADDRESS:
		return 0, putUint64s(t, a[1], t.ClearChildTID())
	default:
		return 0, unix.EINVAL
	}
	return 0, nil
}
