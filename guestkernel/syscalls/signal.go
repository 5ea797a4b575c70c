package syscalls

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

func init() {
	register(map[string]Handler{
		"rt_sigaction":    sysSigaction,
		"rt_sigprocmask":  sysSigprocmask,
		"rt_sigpending":   sysSigpending,
		"rt_sigsuspend":   sysSigsuspend,
		"rt_sigtimedwait": sysSigtimedwait,
		"rt_sigreturn":    func(t *task.Task, _ Args) (uint64, error) { return 0, t.Sigreturn() },
		"sigaltstack":     sysSigaltstack,
		"pause":           func(t *task.Task, _ Args) (uint64, error) { return 0, t.Pause() },
		"kill":            func(t *task.Task, a Args) (uint64, error) { return 0, t.Kill(a.Int(0), a.Int(1)) },
		"tkill":           func(t *task.Task, a Args) (uint64, error) { return 0, t.KillThread(-1, a.Int(0), a.Int(1), nil) },
		"tgkill": func(t *task.Task, a Args) (uint64, error) {
			if a.Int(0) <= 0 {
				return 0, unix.EINVAL
			}
			return 0, t.KillThread(a.Int(0), a.Int(1), a.Int(2), nil)
		},
		"rt_sigqueueinfo": func(t *task.Task, a Args) (uint64, error) {
			info, err := userSiginfo(t, a.Int(0), a.Int(1), a[2])
			if err != nil {
				return 0, err
			}
			return 0, t.Queue(a.Int(0), a.Int(1), info)
		},
		"rt_tgsigqueueinfo": func(t *task.Task, a Args) (uint64, error) {
			if a.Int(0) <= 0 {
				return 0, unix.EINVAL
			}
			info, err := userSiginfo(t, a.Int(0), a.Int(2), a[3])
			if err != nil {
				return 0, err
			}
			return 0, t.KillThread(a.Int(0), a.Int(1), a.Int(2), info)
		},
		"restart_syscall": func(t *task.Task, _ Args) (uint64, error) { return t.RunRestart() },
	})
}

const sigsetSize = 8

func getSigset(t *task.Task, addr, size uint64) (task.SigSet, error) {
	if size != sigsetSize {
		return 0, unix.EINVAL
	}
	w, err := getUint64(t, addr)
	return task.SigSet(w), err
}

// userSiginfo reads the siginfo of a queueing call; codes of the kernel are only for sending to oneself.
func userSiginfo(t *task.Task, pid, sig int, addr uint64) (*task.Info, error) {
	info := new(task.Info)
	if err := t.CopyInUser(addr, info[:]); err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(info[0:], uint32(sig))
	if (info.Code() >= 0 || info.Code() == task.CodeTkill) && pid != t.OwnPID() {
		return nil, unix.EPERM
	}
	return info, nil
}

// sysSigaction reads and writes struct kernel_sigaction: handler, flags, restorer, mask on both architectures.
func sysSigaction(t *task.Task, a Args) (uint64, error) {
	if a[3] != sigsetSize {
		return 0, unix.EINVAL
	}
	var act *task.Action
	if a[1] != 0 {
		var w [32]byte
		if err := t.CopyInUser(a[1], w[:]); err != nil {
			return 0, err
		}
		act = &task.Action{Handler: le.Uint64(w[0:]), Flags: le.Uint64(w[8:]), Restorer: le.Uint64(w[16:]), Mask: task.SigSet(le.Uint64(w[24:]))}
	}
	old, err := t.SetAction(a.Int(0), act)
	if err != nil || a[2] == 0 {
		return 0, err
	}
	return 0, putUint64s(t, a[2], old.Handler, old.Flags, old.Restorer, uint64(old.Mask))
}

func sysSigprocmask(t *task.Task, a Args) (uint64, error) {
	if a[3] != sigsetSize {
		return 0, unix.EINVAL
	}
	old := t.OwnMask()
	if a[1] != 0 {
		set, err := getSigset(t, a[1], a[3])
		if err != nil {
			return 0, err
		}
		switch a.Int(0) {
		case unix.SIG_BLOCK:
			set |= old
		case unix.SIG_UNBLOCK:
			set = old &^ set
		case unix.SIG_SETMASK:
		default:
			return 0, unix.EINVAL
		}
		if set != old {
			t.SetMask(set)
		}
	}
	if a[2] == 0 {
		return 0, nil
	}
	var b [8]byte
	le.PutUint64(b[:], uint64(old))
	return 0, t.CopyOutUser(a[2], b[:])
}

func sysSigpending(t *task.Task, a Args) (uint64, error) {
	if a[1] > sigsetSize {
		return 0, unix.EINVAL
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(t.Pending()))
	return 0, t.CopyOutUser(a[0], b[:a[1]])
}

func sysSigsuspend(t *task.Task, a Args) (uint64, error) {
	set, err := getSigset(t, a[0], a[1])
	if err != nil {
		return 0, err
	}
	t.SuspendMask(set)
	return 0, t.Pause()
}

func sysSigtimedwait(t *task.Task, a Args) (uint64, error) {
	set, err := getSigset(t, a[0], a[3])
	if err != nil {
		return 0, err
	}
	var deadline time.Time
	if a[2] != 0 {
		d, err := getTimespec(t, a[2])
		if err != nil {
			return 0, err
		}
		deadline = time.Now().Add(d)
	}
	info, err := t.WaitSignal(set, deadline)
	if err != nil {
		return 0, err
	}
	if a[1] != 0 {
		if err := t.CopyOutUser(a[1], info[:]); err != nil {
			return 0, err
		}
	}
	return uint64(info.Signal()), nil
}

// sysSigaltstack reads and writes stack_t: ss_sp, ss_flags (and padding), ss_size.
func sysSigaltstack(t *task.Task, a Args) (uint64, error) {
	sp, flags, size := t.AltStack()
	if a[0] != 0 {
		w, err := getUint64s(t, a[0], 3)
		if err != nil {
			return 0, err
		}
		if err := t.SetAltStack(w[0], int32(w[1]), w[2]); err != nil {
			return 0, err
		}
	}
	if a[1] == 0 {
		return 0, nil
	}
	return 0, putUint64s(t, a[1], sp, uint64(uint32(flags)), size)
}
