package ipc

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// SemUndo is SEM_UNDO of a struct sembuf; the others are commands of semctl(2).
const (
	SemUndo = 0x1000

	CmdGetPID     = 11
	CmdGetVal     = 12
	CmdGetAll     = 13
	CmdGetNCnt    = 14
	CmdGetZCnt    = 15
	CmdSetVal     = 16
	CmdSetAll     = 17
	CmdSemStat    = 18
	CmdSemInfo    = 19
	CmdSemStatAny = 20
)

// SemOp is a struct sembuf.
type SemOp struct {
	Num   uint16
	Op    int16
	Flags int16
}

type semaphore struct {
	value int
	pid   int // of the last operation
}

// semSet is a set of semaphores.
type semSet struct {
	Perm
	operated, changed int64
	sems              []semaphore
	waiters           []*semWaiter // in the order in which they came
	undo              map[*Undo][]int
	gone              bool
}

// semWaiter is a semop(2) that cannot go on. Whoever changes the set does the operation for it.
type semWaiter struct {
	ops      []SemOp
	undo     *Undo
	pid      int
	blocking int // operation that cannot be done
	queued   bool
	err      error
	done     chan struct{} // capacity 1
}

// SemStat is a struct semid64_ds.
type SemStat struct {
	Perm
	Operated, Changed int64
	Count             uint64
}

// SemGet is semget(2). Errors: EINVAL, EACCES, EEXIST, ENOENT, ENOSPC.
func (n *Namespace) SemGet(c Caller, key int32, count, flags int) (id int, err error) {
	l := n.Limits()
	if count < 0 || uint64(count) > l.SemMsl {
		return 0, unix.EINVAL
	}
	fits := func(s *semSet) error {
		if count > len(s.sems) {
			return unix.EINVAL
		}
		return nil
	}
	n.sem.Lock()
	defer n.sem.Unlock()
	return n.sem.find(c.Creds(), key, flags, l.SemMni, fits, func() (*semSet, error) {
		switch {
		case count == 0:
			return nil, unix.EINVAL
		case n.sem.total+uint64(count) > l.SemMns, uint64(len(n.sem.objects)) >= l.SemMni:
			return nil, unix.ENOSPC
		}
		n.sem.total += uint64(count)
		return &semSet{
			Perm: newPerm(c.Creds(), key, uint32(flags)), changed: now(), sems: make([]semaphore, count), undo: make(map[*Undo][]int),
		}, nil
	})
}

// attempt does the operations of w all together or not at all. blocked: not now. The error is ERANGE.
func (s *semSet) attempt(w *semWaiter) (blocked bool, err error) {
	type saved struct{ num, value int }
	var before []saved
	var adjust []int
	if w.undo != nil {
		adjust = slices.Clone(s.undo[w.undo])
		if adjust == nil {
			adjust = make([]int, len(s.sems))
		}
	}
	for i, op := range w.ops {
		sem := &s.sems[op.Num]
		value := sem.value + int(op.Op)
		switch {
		case op.Op == 0 && sem.value != 0, value < 0:
			blocked, w.blocking = true, i
		case value > semMax:
			err = unix.ERANGE
		case op.Flags&SemUndo != 0:
			adjust[op.Num] -= int(op.Op)
			if a := adjust[op.Num]; a < -semAdj-1 || a > semAdj {
				err = unix.ERANGE
			}
		}
		if blocked || err != nil {
			for _, b := range slices.Backward(before) {
				s.sems[b.num].value = b.value
			}
			return blocked, err
		}
		before = append(before, saved{int(op.Num), sem.value})
		sem.value = value
	}
	for _, op := range w.ops {
		s.sems[op.Num].pid = w.pid
	}
	if w.undo != nil {
		s.undo[w.undo] = adjust
		w.undo.sets[s] = struct{}{}
	}
	s.operated = now()
	return false, nil
}

// serveLocked lets everybody go on who can now, in order, until nobody can.
func (s *semSet) serveLocked() {
	for progress := true; progress; {
		progress = false
		for _, w := range slices.Clone(s.waiters) {
			if !w.queued {
				continue
			}
			if blocked, err := s.attempt(w); !blocked {
				s.finishLocked(w, err)
				progress = progress || err == nil
			}
		}
	}
}

func (s *semSet) finishLocked(w *semWaiter, err error) {
	w.queued, w.err = false, err
	s.waiters = slices.DeleteFunc(s.waiters, func(o *semWaiter) bool { return o == w })
	w.done <- struct{}{}
}

// SemOp is semop(2) and semtimedop(2): a zero deadline is none. u takes what SEM_UNDO remembers; it may be nil without.
// Errors: EINVAL, E2BIG, EFBIG, EACCES, EAGAIN, ERANGE, EIDRM, EINTR.
func (n *Namespace) SemOp(c Caller, u *Undo, id int, ops []SemOp, deadline time.Time) error {
	if len(ops) == 0 {
		return unix.EINVAL
	}
	w := &semWaiter{ops: ops, pid: c.PID(), done: make(chan struct{}, 1)}
	want, most := uint32(0o444), uint16(0)
	for _, op := range ops {
		most = max(most, op.Num)
		if op.Op != 0 {
			want = 0o222
		}
		if op.Flags&SemUndo != 0 {
			w.undo = u
		}
	}
	n.sem.Lock()
	s, err := n.sem.get(id)
	switch {
	case err != nil:
	case int(most) >= len(s.sems):
		err = unix.EFBIG
	default:
		err = s.allows(c.Creds(), want)
	}
	if err != nil {
		n.sem.Unlock()
		return err
	}
	blocked, err := s.attempt(w)
	switch {
	case err == nil && !blocked:
		s.serveLocked()
	case blocked && ops[w.blocking].Flags&NoWait != 0:
		blocked, err = false, unix.EAGAIN
	case blocked:
		w.queued = true
		s.waiters = append(s.waiters, w)
	}
	n.sem.Unlock()
	if !blocked {
		return err
	}
	result := c.Sleep(w.done, deadline)
	n.sem.Lock()
	defer n.sem.Unlock()
	switch {
	case !w.queued: // served meanwhile
		return w.err
	case result == wait.TimedOut:
		err = unix.EAGAIN
	default:
		err = unix.EINTR
	}
	w.queued = false
	s.waiters = slices.DeleteFunc(s.waiters, func(o *semWaiter) bool { return o == w })
	return err
}

func (n *Namespace) removeSetLocked(s *semSet) {
	n.sem.remove(s)
	n.sem.total -= uint64(len(s.sems))
	s.gone = true
	for u := range s.undo {
		delete(u.sets, s)
	}
	for _, w := range slices.Clone(s.waiters) {
		s.finishLocked(w, unix.EIDRM)
	}
}

// SemRemove is semctl(IPC_RMID). Errors: EINVAL, EPERM.
func (n *Namespace) SemRemove(c Caller, id int) error {
	n.sem.Lock()
	defer n.sem.Unlock()
	s, err := n.sem.get(id)
	if err == nil {
		err = s.owned(c.Creds())
	}
	if err == nil {
		n.removeSetLocked(s)
	}
	return err
}

// SemSet is semctl(IPC_SET). Errors: EINVAL, EPERM.
func (n *Namespace) SemSet(c Caller, id int, ch Change) error {
	n.sem.Lock()
	defer n.sem.Unlock()
	s, err := n.sem.get(id)
	if err == nil {
		err = s.owned(c.Creds())
	}
	if err == nil {
		s.set(ch)
		s.changed = now()
	}
	return err
}

// SemGetOne is semctl's GETVAL, GETPID, GETNCNT and GETZCNT. Errors: EINVAL, EACCES.
func (n *Namespace) SemGetOne(c Caller, id, num, cmd int) (int, error) {
	n.sem.Lock()
	defer n.sem.Unlock()
	s, err := n.sem.get(id)
	if err == nil {
		err = s.allows(c.Creds(), 0o444)
	}
	if err != nil {
		return 0, err
	}
	if num < 0 || num >= len(s.sems) {
		return 0, unix.EINVAL
	}
	switch cmd {
	case CmdGetVal:
		return s.sems[num].value, nil
	case CmdGetPID:
		return s.sems[num].pid, nil
	}
	count := 0
	for _, w := range s.waiters {
		op := w.ops[w.blocking]
		if int(op.Num) == num && (op.Op < 0 && cmd == CmdGetNCnt || op.Op == 0 && cmd == CmdGetZCnt) {
			count++
		}
	}
	return count, nil
}

// SemCount is the number of semaphores of a set that c may use as want says (0444, 0222). Errors: EINVAL, EACCES.
func (n *Namespace) SemCount(c Caller, id int, want uint32) (int, error) {
	n.sem.Lock()
	defer n.sem.Unlock()
	s, err := n.sem.get(id)
	if err == nil {
		err = s.allows(c.Creds(), want)
	}
	if err != nil {
		return 0, err
	}
	return len(s.sems), nil
}

// SemGetAll is semctl(GETALL). Errors: EINVAL, EACCES.
func (n *Namespace) SemGetAll(c Caller, id int) ([]uint16, error) {
	n.sem.Lock()
	defer n.sem.Unlock()
	s, err := n.sem.get(id)
	if err == nil {
		err = s.allows(c.Creds(), 0o444)
	}
	if err != nil {
		return nil, err
	}
	out := make([]uint16, len(s.sems))
	for i := range s.sems {
		out[i] = uint16(s.sems[i].value)
	}
	return out, nil
}

// SemSetValues sets semaphores from number first on: semctl's SETVAL and SETALL. What SEM_UNDO remembers of them is forgotten. Errors:
// EINVAL, EACCES, ERANGE.
func (n *Namespace) SemSetValues(c Caller, id, first int, values []int) error {
	for _, v := range values {
		if v < 0 || v > semMax {
			return unix.ERANGE
		}
	}
	n.sem.Lock()
	defer n.sem.Unlock()
	s, err := n.sem.get(id)
	switch {
	case err != nil:
		return err
	case first < 0 || first+len(values) > len(s.sems):
		return unix.EINVAL
	}
	if err := s.allows(c.Creds(), 0o222); err != nil {
		return err
	}
	for i, v := range values {
		s.sems[first+i] = semaphore{value: v, pid: c.PID()}
		for _, adjust := range s.undo {
			adjust[first+i] = 0
		}
	}
	s.changed = now()
	s.serveLocked()
	return nil
}

func (s *semSet) stat() SemStat {
	return SemStat{s.Perm, s.operated, s.changed, uint64(len(s.sems))}
}

// SemStat is semctl(IPC_STAT), and SEM_STAT and SEM_STAT_ANY with byPlace; anyone says that no permission is asked for. Errors: EINVAL, EACCES.
func (n *Namespace) SemStat(c Caller, id int, byPlace, anyone bool) (SemStat, error) {
	n.sem.Lock()
	defer n.sem.Unlock()
	s, err := n.sem.get(id)
	if byPlace {
		s, err = n.sem.byPlace(id)
	}
	if err == nil && !anyone {
		err = s.allows(c.Creds(), 0o444)
	}
	if err != nil {
		return SemStat{}, err
	}
	return s.stat(), nil
}

// SemUsage is how much there is: sets, semaphores, and the highest used place.
func (n *Namespace) SemUsage() (sets, semaphores, highest int) {
	n.sem.Lock()
	defer n.sem.Unlock()
	return len(n.sem.objects), int(n.sem.total), n.sem.highest()
}

// SemAll lists all sets by place.
func (n *Namespace) SemAll() (all []SemStat) {
	n.sem.Lock()
	defer n.sem.Unlock()
	for _, at := range n.sem.places() {
		all = append(all, n.sem.objects[at].stat())
	}
	return all
}

// Undo is what SEM_UNDO operations of a process remember: threads share it, and so does whoever was cloned with CLONE_SYSVSEM.
type Undo struct {
	ns    *Namespace
	users int                  // guarded by ns.sem
	sets  map[*semSet]struct{} // guarded by ns.sem
}

// NewUndo answers an empty one with one user.
func (n *Namespace) NewUndo() *Undo { return &Undo{ns: n, users: 1, sets: make(map[*semSet]struct{})} }

// Share adds a user.
func (u *Undo) Share() *Undo {
	u.ns.sem.Lock()
	defer u.ns.sem.Unlock()
	u.users++
	return u
}

// Leave drops a user, whose process has the number pid; the last one takes back what the operations did (exit_sem).
func (u *Undo) Leave(pid int) {
	u.ns.sem.Lock()
	defer u.ns.sem.Unlock()
	if u.users--; u.users > 0 {
		return
	}
	for s := range u.sets {
		for i, a := range s.undo[u] {
			if a != 0 {
				s.sems[i] = semaphore{min(max(s.sems[i].value+a, 0), semMax), pid}
			}
		}
		delete(s.undo, u)
		s.operated = now()
		s.serveLocked()
	}
	u.sets = nil
}
