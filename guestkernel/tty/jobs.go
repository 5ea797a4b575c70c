package tty

import (
	"sync"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Sessions knows the controlling terminal of each session.
type Sessions struct {
	mu        sync.Mutex
	terminals map[int]*Terminal
}

// NewSessions answers an empty table.
func NewSessions() *Sessions { return &Sessions{terminals: make(map[int]*Terminal)} }

// of answers the controlling terminal of a session, or nil.
func (s *Sessions) of(sid int) *Terminal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.terminals[sid]
}

func (s *Sessions) set(sid int, t *Terminal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t == nil {
		delete(s.terminals, sid)
	} else {
		s.terminals[sid] = t
	}
}

// Number answers the device number of a session's controlling terminal, 0 for none: tty_nr of /proc/PID/stat.
func (s *Sessions) Number(sid int) uint64 {
	t := s.of(sid)
	if t == nil {
		return 0
	}
	return t.dev
}

// Foreground answers the foreground process group of a session's terminal, -1 for none: tpgid of /proc/PID/stat.
func (s *Sessions) Foreground(sid int) int {
	t := s.of(sid)
	if t == nil {
		return -1
	}
	return t.Foreground()
}

// Foreground is the foreground process group, 0 for none.
func (t *Terminal) Foreground() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.foreground
}

// LeaderExited gives the session's terminal up: the foreground process group gets SIGHUP and SIGCONT. The task layer calls it, without locks, when
// a session leader ends.
func (s *Sessions) LeaderExited(sid int) {
	if t := s.of(sid); t != nil {
		t.disassociate(sid)
	}
}

func (t *Terminal) disassociate(sid int) {
	t.mu.Lock()
	defer t.unlock()
	if t.session != sid {
		return
	}
	t.due = append(t.due, signal{t.foreground, unix.SIGHUP}, signal{t.foreground, unix.SIGCONT})
	t.session, t.foreground = 0, 0
	t.sessions.set(sid, nil)
}

// Control makes t the controlling terminal of a session that has none, with the process group pgid in the foreground: for the first program.
func (t *Terminal) Control(sid, pgid int) {
	t.mu.Lock()
	t.controlLocked(sid, pgid)
	t.unlock()
}

func (t *Terminal) controlLocked(sid, pgid int) {
	if t.session != 0 {
		t.sessions.set(t.session, nil)
	}
	t.session, t.foreground = sid, pgid
	t.sessions.set(sid, t)
}

// SignalForeground sends a signal to the foreground process group.
func (t *Terminal) SignalForeground(sig unix.Signal) {
	t.mu.Lock()
	t.due = append(t.due, signal{t.foreground, sig})
	t.unlock()
}

// backgroundLocked mirrors __tty_check_change: a background process group is stopped with sig when it touches its controlling terminal.
func (t *Terminal) backgroundLocked(c vfs.Caller, sig unix.Signal) error {
	if t.session == 0 || c.SID() != t.session || t.foreground == 0 || c.PGID() == t.foreground {
		return nil
	}
	if c.SignalStopped(sig) {
		if sig == unix.SIGTTIN {
			return unix.EIO
		}
		return nil
	}
	if c.Orphaned() {
		return unix.EIO
	}
	t.due = append(t.due, signal{c.PGID(), sig})
	return wait.ErrRestart
}

// setControllingLocked is TIOCSCTTY.
func (t *Terminal) setControllingLocked(c vfs.Caller, steal bool) error {
	sid := c.SID()
	leader := c.PID() == sid
	if leader && t.session == sid {
		return nil
	}
	if !leader || t.sessions.of(sid) != nil {
		return unix.EPERM
	}
	if t.session != 0 && !(steal && c.Creds().Has(unix.CAP_SYS_ADMIN)) {
		return unix.EPERM
	}
	t.controlLocked(sid, c.PGID())
	return nil
}

// setForegroundLocked is TIOCSPGRP.
func (t *Terminal) setForegroundLocked(c vfs.Caller, pgid int) error {
	if err := t.backgroundLocked(c, unix.SIGTTOU); err != nil {
		return err
	}
	if t.session == 0 || t.session != c.SID() {
		return unix.ENOTTY
	}
	if pgid < 0 {
		return unix.EINVAL
	}
	switch t.processes.SessionOf(pgid) {
	case t.session:
	case 0:
		return unix.ESRCH
	default:
		return unix.EPERM
	}
	t.foreground = pgid
	return nil
}
