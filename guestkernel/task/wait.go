package task

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// WaitFor selects children for Wait.
type WaitFor struct {
	PID     int    // > 0: that child
	PGID    int    // > 0: children of that process group
	Process *Group // not nil: that child
	Options int    // WNOHANG, WUNTRACED (WSTOPPED), WCONTINUED, WEXITED, WNOWAIT, __WALL, __WCLONE
}

// Waited is a child's news.
type Waited struct {
	PID    int
	Status int // wait status
	Code   int // CLD_*
	Value  int // exit code or signal
	UID    uint32
	CPU    CPUTimes
	MaxRSS uint64
}

// Wait, with the caller's numbers, is wait4(2) and waitid(2). Waited.PID is 0 when WNOHANG found nothing. Errors: ECHILD, and wait.ErrRestart when interrupted.
func (t *Task) Wait(f WaitFor) (Waited, error) {
	var found Waited
	err := wait.Block(t, &t.group.childNews, wait.In, time.Time{}, func() error {
		var any bool
		found, any = t.lookForChild(f)
		switch {
		case found.PID != 0:
			return nil
		case !any:
			return unix.ECHILD
		case f.Options&unix.WNOHANG != 0:
			return nil
		}
		return wait.ErrWouldBlock
	})
	return found, err
}

// lookForChild answers the news of one matching child and whether there is any matching child.
func (t *Task) lookForChild(f WaitFor) (w Waited, any bool) {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	ns := t.group.pidns
	if f.PID > 0 {
		f.PID = ns.global(f.PID)
	}
	if f.PGID > 0 {
		f.PGID = ns.global(f.PGID)
	}
	for _, g := range t.group.children {
		if f.PID > 0 && g.pid != f.PID || f.PGID > 0 && g.pgroup.id != f.PGID || f.Process != nil && g != f.Process {
			continue
		}
		if f.Options&unix.WALL == 0 && (g.exitSignal != unix.SIGCHLD) != (f.Options&unix.WCLONE != 0) {
			continue
		}
		any = true
		take := f.Options&unix.WNOWAIT == 0
		switch {
		case g.zombie && f.Options&unix.WEXITED != 0:
			w = news(ns, g, g.exitCode)
			w.Code, w.Value = exitNews(g.exitCode)
			if take {
				p := g.parent
				p.childTime = p.childTime.plus(w.CPU)
				p.childMaxRSS = max(p.childMaxRSS, g.maxRSS, g.childMaxRSS)
				k.reapLocked(g)
			}
		case g.stopping && g.stopNews && f.Options&unix.WSTOPPED != 0:
			w = news(ns, g, g.stopSignal<<8|0x7f)
			w.Code, w.Value = cldStopped, g.stopSignal
			g.stopNews = !take
		case g.contNews && f.Options&unix.WCONTINUED != 0:
			w = news(ns, g, 0xffff)
			w.Code, w.Value = cldContinued, int(unix.SIGCONT)
			g.contNews = !take
		default:
			continue
		}
		return w, true
	}
	return Waited{}, any
}

func news(ns *PIDNamespace, g *Group, status int) Waited {
	w := Waited{PID: ns.local(g.pid), Status: status, CPU: g.cpuTimesLocked().plus(g.childTime), MaxRSS: g.maxRSS}
	if g.leader != nil {
		w.UID = g.leader.Creds().UID
	}
	return w
}
