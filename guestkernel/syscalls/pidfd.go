package syscalls

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
	"ringo/guestkernel/vfs"
)

func init() {
	register(map[string]Handler{
		"pidfd_open":        sysPidfdOpen,
		"pidfd_send_signal": sysPidfdSendSignal,
		"pidfd_getfd":       sysPidfdGetfd,
	})
}

func sysPidfdOpen(t *task.Task, a Args) (uint64, error) {
	d, err := t.OpenPIDFD(a.Int(0), a.Uint(1))
	if err != nil {
		return 0, err
	}
	return install(t, d, true)
}

// getPIDFD answers the pidfd of a descriptor; the caller drops d.
func getPIDFD(t *task.Task, fd int) (*task.PIDFD, *vfs.Description, error) {
	d, err := get(t, fd)
	if err != nil {
		return nil, nil, err
	}
	p, err := task.PIDFDOf(d)
	if err != nil {
		d.Unref()
		return nil, nil, err
	}
	return p, d, nil
}

func sysPidfdSendSignal(t *task.Task, a Args) (uint64, error) {
	sig, flags := a.Int(1), a.Uint(3)
	if flags&^(task.PIDFDSignalThread|task.PIDFDSignalProcess|task.PIDFDSignalGroup) != 0 || flags&(flags-1) != 0 {
		return 0, unix.EINVAL
	}
	p, d, err := getPIDFD(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	var info *task.Info
	if a[2] != 0 {
		info = new(task.Info)
		if err := t.CopyInUser(a[2], info[:]); err != nil {
			return 0, err
		}
		if info.Signal() != sig {
			return 0, unix.EINVAL
		}
		if !p.Is(t) && (info.Code() >= 0 || info.Code() == task.CodeTkill) {
			return 0, unix.EPERM
		}
	}
	return 0, p.Signal(t, sig, info, flags)
}

func sysPidfdGetfd(t *task.Task, a Args) (uint64, error) {
	if a.Uint(2) != 0 {
		return 0, unix.EINVAL
	}
	p, d, err := getPIDFD(t, a.Int(0))
	if err != nil {
		return 0, err
	}
	defer d.Unref()
	f, err := p.File(t, a.Int(1))
	if err != nil {
		return 0, err
	}
	return install(t, f, true)
}
