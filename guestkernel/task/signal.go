package task

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// NumSignals is the highest signal number.
const NumSignals = 64

// SigSet is a set of signals in the kernel's layout: bit sig-1.
type SigSet uint64

// Set returns the set of the given signals.
func Set(sigs ...unix.Signal) (s SigSet) {
	for _, sig := range sigs {
		s |= 1 << (sig - 1)
	}
	return s
}

// Has reports whether sig is in the set.
func (s SigSet) Has(sig int) bool { return s>>(sig-1)&1 != 0 }

// Unblockable is what no mask can hold.
var Unblockable = Set(unix.SIGKILL, unix.SIGSTOP)

var (
	stopSignals     = Set(unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	defaultIgnored  = Set(unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH)
	synchronousSigs = Set(unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGTRAP, unix.SIGFPE, unix.SIGSYS)
)

// Handlers and flags of an Action.
const (
	sigDfl = 0
	sigIgn = 1

	saNoCldStop = 0x1
	saNoCldWait = 0x2
	saSigInfo   = 0x4
	saRestorer  = 0x04000000
	saOnStack   = 0x08000000
	saRestart   = 0x10000000
	saNoDefer   = 0x40000000
	saResetHand = 0x80000000

	firstRealtime = 32
)

// Action is a struct kernel_sigaction.
type Action struct {
	Handler, Flags, Restorer uint64
	Mask                     SigSet
}

// actions is the table of a process; processes made with CLONE_SIGHAND share it. Guarded by Kernel.mu.
type actions struct {
	table [NumSignals + 1]Action
}

func newActions() *actions { return new(actions) }

func (a *actions) fork() *actions {
	c := *a
	return &c
}

// ignores says whether sig would have no effect when delivered.
func (a *actions) ignores(sig int) bool {
	h := a.table[sig].Handler
	return h == sigIgn || h == sigDfl && defaultIgnored.Has(sig)
}

// Info is a siginfo_t as user space sees it.
type Info [128]byte

// Codes of Info (sigaction(2)).
const (
	CodeUser   = 0
	CodeKernel = 0x80
	CodeQueue  = -1
	CodeTimer  = -2
	CodeTkill  = -6

	cldExited    = 1
	cldKilled    = 2
	cldStopped   = 5
	cldContinued = 6
)

// Signal is si_signo.
func (i *Info) Signal() int { return int(int32(binary.LittleEndian.Uint32(i[0:]))) }

// Code is si_code.
func (i *Info) Code() int { return int(int32(binary.LittleEndian.Uint32(i[8:]))) }

func newInfo(sig, code int) *Info {
	i := new(Info)
	binary.LittleEndian.PutUint32(i[0:], uint32(sig))
	binary.LittleEndian.PutUint32(i[8:], uint32(code))
	return i
}

func (i *Info) put32(off int, v uint32) { binary.LittleEndian.PutUint32(i[off:], v) }
func (i *Info) put64(off int, v uint64) { binary.LittleEndian.PutUint64(i[off:], v) }

func kernelInfo(sig int) *Info { return newInfo(sig, CodeKernel) }

// userInfoLocked is the info of kill(2) and tgkill(2) for process g: the sender as g's PID and user namespaces name it.
func (t *Task) userInfoLocked(g *Group, sig, code int) *Info {
	i := newInfo(sig, code)
	i.put32(16, uint32(g.pidns.local(t.group.pid)))
	i.put32(20, g.userSeesLocked(t.Creds().UID))
	return i
}

// userSeesLocked is the kernel's user id as the process names it.
func (g *Group) userSeesLocked(uid uint32) uint32 {
	if g.leader == nil {
		return uid
	}
	return g.leader.Creds().User.UID(uid)
}

// sendFromLocked sends a signal of t's to g, or to one thread of it. The init of a PID namespace gets none from inside that it has no handler for.
func (t *Task) sendFromLocked(g *Group, to *Task, info *Info) error {
	sig := info.Signal()
	if g.unkillable() && t.group.pidns.within(g.pidns) && g.actions.table[sig].Handler == sigDfl && (Unblockable.Has(sig) || !g.blocksLocked(to, sig)) {
		return nil
	}
	return t.k.sendLocked(g, to, info)
}

// blocksLocked says whether the thread, or the process's first one, blocks sig.
func (g *Group) blocksLocked(t *Task, sig int) bool {
	if t == nil {
		t = g.leader
	}
	return t != nil && t.mask.Has(sig)
}

// queued is one pending signal.
type queued struct {
	info  *Info
	timer *posixTimer // it comes from
	next  *queued
}

// pending is a set of signals that wait for delivery: one of each standard signal, a queue of each
// real-time signal. Guarded by Kernel.mu.
type pending struct {
	set   SigSet
	queue [NumSignals + 1]*queued
	count int
}

// maxQueued bounds the real-time signals of a process (RLIMIT_SIGPENDING).
const maxQueued = 4096

func (p *pending) add(info *Info, timer *posixTimer) error {
	sig := info.Signal()
	if sig < firstRealtime && p.set.Has(sig) {
		return nil
	}
	if p.count >= maxQueued {
		return unix.EAGAIN
	}
	at := &p.queue[sig]
	for *at != nil {
		at = &(*at).next
	}
	*at = &queued{info: info, timer: timer}
	p.count++
	p.set |= 1 << (sig - 1)
	return nil
}

func (p *pending) take(sig int) *Info {
	q := p.queue[sig]
	p.queue[sig] = q.next
	p.count--
	if q.next == nil {
		p.set &^= 1 << (sig - 1)
	}
	if q.timer != nil {
		q.timer.deliveredLocked(q.info)
	}
	return q.info
}

func (p *pending) drop(sigs SigSet) {
	for sig := 1; sig <= NumSignals; sig++ {
		for sigs.Has(sig) && p.set.Has(sig) {
			p.take(sig)
		}
	}
}

// next picks a signal of the set: synchronous ones first, then the lowest number.
func (s SigSet) next() int {
	if sync := s & synchronousSigs; sync != 0 {
		s = sync
	}
	for sig := 1; sig <= NumSignals; sig++ {
		if s.Has(sig) {
			return sig
		}
	}
	return 0
}

// dequeueLocked takes a pending signal of the set, the thread's own first.
func (t *Task) dequeueLocked(set SigSet) *Info {
	if sig := (t.pending.set & set).next(); sig != 0 {
		return t.pending.take(sig)
	}
	if sig := (t.group.pending.set & set).next(); sig != 0 {
		return t.group.pending.take(sig)
	}
	return nil
}

// notifyLocked makes t look at its signals: it ends its sleep and its stay in user mode.
func (t *Task) notifyLocked() {
	if t.dead {
		return
	}
	t.work.Store(true)
	select {
	case t.interrupt <- struct{}{}:
	default:
	}
	t.ctx.Interrupt()
}

func (t *Task) wants(sig int) bool {
	return !t.dead && (!t.mask.Has(sig) || t.waitingFor.Has(sig) || sig == int(unix.SIGKILL))
}

// sendLocked sends a signal to a task, or to a process when t is nil. Mirrors send_signal_locked. The error is
// EAGAIN when a real-time queue is full.
func (k *Kernel) sendLocked(g *Group, t *Task, info *Info) error {
	return k.queueLocked(g, t, info, nil)
}

// sendTimerLocked sends the signal of a timer and says whether it is pending now.
func (k *Kernel) sendTimerLocked(g *Group, t *Task, info *Info, timer *posixTimer) bool {
	p := &g.pending
	if t != nil {
		p = &t.pending
	}
	before := p.count
	return k.queueLocked(g, t, info, timer) == nil && p.count > before
}

func (k *Kernel) queueLocked(g *Group, t *Task, info *Info, timer *posixTimer) error {
	sig := info.Signal()
	if g.zombie || len(g.tasks) == 0 {
		return nil
	}
	if g.unkillable() && g.actions.table[sig].Handler == sigDfl && !Unblockable.Has(sig) && !g.blocksLocked(t, sig) {
		return nil // from outside or the kernel: only SIGKILL and SIGSTOP do something to init
	}
	switch {
	case sig == int(unix.SIGKILL):
		k.killGroupLocked(g, sig)
		return nil
	case sig == int(unix.SIGCONT):
		g.dropPendingLocked(stopSignals)
		k.continueLocked(g)
	case stopSignals.Has(sig):
		g.dropPendingLocked(Set(unix.SIGCONT))
	}
	target := t
	if target == nil {
		target = g.leader
	}
	if g.actions.ignores(sig) && !target.mask.Has(sig) && !target.waitingFor.Has(sig) {
		return nil
	}
	p := &g.pending
	if t != nil {
		p = &t.pending
	}
	if sig >= firstRealtime && info.Code() < 0 && timer == nil {
		// What kill(2) and the kernel send gets through whatever the limit.
		if limit, _ := g.Limit(unix.RLIMIT_SIGPENDING); uint64(g.queuedLocked()) >= limit {
			return unix.EAGAIN
		}
	}
	if err := p.add(info, timer); err != nil {
		return err
	}
	g.signalNews.Notify(wait.In)
	if t != nil {
		if t.wants(sig) {
			t.notifyLocked()
		}
		return nil
	}
	k.retargetLocked(g, sig)
	return nil
}

// queuedLocked is how many signals wait for the process and its threads.
func (g *Group) queuedLocked() int {
	n := g.pending.count
	for _, t := range g.tasks {
		n += t.pending.count
	}
	return n
}

// retargetLocked wakes one task that can take a signal pending for the process.
func (k *Kernel) retargetLocked(g *Group, sig int) {
	if g.leader != nil && g.leader.wants(sig) {
		g.leader.notifyLocked()
		return
	}
	for _, t := range g.tasks {
		if t.wants(sig) {
			t.notifyLocked()
			return
		}
	}
}

func (g *Group) dropPendingLocked(sigs SigSet) {
	g.pending.drop(sigs)
	for _, t := range g.tasks {
		t.pending.drop(sigs)
	}
}

// killGroupLocked makes every task of g exit; the wait status says that sig did it.
func (k *Kernel) killGroupLocked(g *Group, sig int) {
	if !g.exiting {
		g.exiting, g.exitCode = true, sig
	}
	for _, t := range g.tasks {
		t.killed = true
		t.notifyLocked()
	}
}

// setMaskLocked changes t's mask; what it newly blocks of the process's pending signals goes to another task.
func (t *Task) setMaskLocked(mask SigSet) {
	mask &^= Unblockable
	blocked := mask &^ t.mask
	t.mask = mask
	if (t.pending.set|t.group.pending.set)&^mask != 0 {
		t.work.Store(true)
	}
	for moved := t.group.pending.set & blocked; moved != 0; {
		sig := moved.next()
		moved &^= 1 << (sig - 1)
		t.k.retargetLocked(t.group, sig)
	}
}

// Mask is the set of blocked signals.
func (t *Task) Mask() SigSet {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return t.mask
}

// OwnMask is Mask for the task itself, which alone changes it.
func (t *Task) OwnMask() SigSet { return t.mask }

// SetMask replaces the set of blocked signals and returns the old one.
func (t *Task) SetMask(mask SigSet) SigSet {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	old := t.mask
	t.setMaskLocked(mask)
	return old
}

// SuspendMask sets a mask for the call being served; the old one comes back when it ends, after a
// handler has run with the new one (sigsuspend, ppoll).
func (t *Task) SuspendMask(mask SigSet) {
	old := t.SetMask(mask)
	t.savedMask = &old
}

// Pending is the set of blocked signals that wait (sigpending(2)).
func (t *Task) Pending() SigSet {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return (t.pending.set | t.group.pending.set) & t.mask
}

// SetAction replaces the action of sig when act is not nil and returns the old one. The error is EINVAL.
func (t *Task) SetAction(sig int, act *Action) (Action, error) {
	if sig < 1 || sig > NumSignals || act != nil && Unblockable.Has(sig) {
		return Action{}, unix.EINVAL
	}
	t.k.mu.Lock()
	old := t.group.actions.table[sig]
	if act != nil {
		a := *act
		a.Mask &^= Unblockable
		t.group.actions.table[sig] = a
		if t.group.actions.ignores(sig) {
			t.group.dropPendingLocked(1 << (sig - 1))
		}
	}
	t.k.mu.Unlock()
	return old, nil
}

// Kill is kill(2): pid > 0 a process, 0 the own process group, -1 everybody else, below a process group. sig 0
// only looks. Errors: EINVAL, ESRCH, EPERM.
func (t *Task) Kill(pid, sig int) error {
	if sig < 0 || sig > NumSignals {
		return unix.EINVAL
	}
	k, ns := t.k, t.group.pidns
	k.mu.Lock()
	defer k.mu.Unlock()
	var targets []*Group
	switch {
	case pid > 0:
		if g := k.groups[ns.global(pid)]; g != nil {
			targets = append(targets, g)
		}
	case pid == -1:
		for n, g := range k.groups {
			if ns.local(n) > InitPID && g != t.group {
				targets = append(targets, g)
			}
		}
	case pid == -1<<31:
		return unix.ESRCH
	default:
		id := ns.global(-pid)
		if pid == 0 {
			id = t.group.pgroup.id
		}
		if pg := k.pgroups[id]; pg != nil {
			for g := range pg.members {
				targets = append(targets, g)
			}
		}
	}
	err := error(unix.ESRCH)
	for _, g := range targets {
		if !t.maySignalLocked(g, sig) {
			if err != nil {
				err = unix.EPERM
			}
			continue
		}
		err = nil
		if sig != 0 {
			if e := t.sendFromLocked(g, nil, t.userInfoLocked(g, sig, CodeUser)); e != nil {
				err = e
			}
		}
	}
	return err
}

// KillThread is tgkill(2), and tkill(2) with tgid -1. A non-nil info is rt_tgsigqueueinfo's. Errors: EINVAL, ESRCH, EPERM, EAGAIN.
func (t *Task) KillThread(tgid, tid, sig int, info *Info) error {
	if sig < 0 || sig > NumSignals || tid <= 0 {
		return unix.EINVAL
	}
	k, ns := t.k, t.group.pidns
	k.mu.Lock()
	defer k.mu.Unlock()
	to := k.tasks[ns.global(tid)]
	if to == nil || tgid != -1 && to.group.pid != ns.global(tgid) {
		return unix.ESRCH
	}
	if info == nil {
		info = t.userInfoLocked(to.group, sig, CodeTkill)
	}
	if !t.maySignalLocked(to.group, sig) {
		return unix.EPERM
	}
	if sig == 0 {
		return nil
	}
	return t.sendFromLocked(to.group, to, info)
}

// Queue is rt_sigqueueinfo(2). Errors as Kill's, and EAGAIN.
func (t *Task) Queue(pid, sig int, info *Info) error {
	if sig < 0 || sig > NumSignals {
		return unix.EINVAL
	}
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.groups[t.group.pidns.global(pid)]
	if g == nil {
		return unix.ESRCH
	}
	return t.queueToLocked(g, sig, info)
}

// queueToLocked sends a signal with the sender's own info. Errors: EPERM, EAGAIN.
func (t *Task) queueToLocked(g *Group, sig int, info *Info) error {
	switch {
	case !t.maySignalLocked(g, sig):
		return unix.EPERM
	case sig == 0:
		return nil
	}
	return t.sendFromLocked(g, nil, info)
}

// maySignalLocked mirrors check_kill_permission.
func (t *Task) maySignalLocked(g *Group, sig int) bool {
	me := t.Creds()
	if g == t.group || me.Has(unix.CAP_KILL) {
		return true
	}
	if g.leader == nil {
		return false
	}
	they := g.leader.Creds()
	if me.HasIn(they.User, unix.CAP_KILL) {
		return true
	}
	if me.EUID == they.SUID || me.EUID == they.UID || me.UID == they.SUID || me.UID == they.UID {
		return true
	}
	return sig == int(unix.SIGCONT) && g.pgroup.session == t.group.pgroup.session
}

// SignalGroup sends a signal from the kernel to a process.
func (k *Kernel) SignalGroup(g *Group, sig int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sendLocked(g, nil, kernelInfo(sig))
}

// SignalProcessGroup sends a signal from the kernel to all members of a process group (a terminal's Ctrl-C).
func (k *Kernel) SignalProcessGroup(id, sig int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pg := k.pgroups[id]; pg != nil {
		for g := range pg.members {
			k.sendLocked(g, nil, kernelInfo(sig))
		}
	}
}
