package task

import (
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
)

// Cgroup is a control group of the one hierarchy (cgroups(7), version 2) with one controller, pids. Whole processes are in a group: there are no
// threaded ones. Everything but the name and the place is guarded by Kernel.mu.
type Cgroup struct {
	k      *Kernel
	parent *Cgroup
	name   string
	id     uint64

	children  map[string]*Cgroup
	members   map[*Group]struct{} // zombies too
	dead      bool
	subtree   bool // pids is in cgroup.subtree_control
	max       int  // pids.max, NoLimit
	maxDepth  int
	maxBelow  int
	tasks     int // threads here and below that nobody has waited for: pids.current
	peak      int
	refused   int // forks that failed by the limit of this group: pids.events
	populated int // live processes here, and children that are populated
	freeze    bool
	frozen    bool // cgroup.events: everything here and below is frozen
	Events    CgroupEvents
}

// CgroupEvents are the files of a group that tell changes.
type CgroupEvents struct {
	Events, Pids CgroupNews
	modified     func(file string)
}

// CgroupNews is a queue for poll with a count of the changes.
type CgroupNews struct {
	wait.Queue
	epoch atomic.Uint64
}

// Epoch is the number of changes so far.
func (n *CgroupNews) Epoch() uint64 { return n.epoch.Load() }

// SetModified has hook called with a file's name when its contents have changed; it must not block or take locks of this package.
func (c *Cgroup) SetModified(hook func(file string)) {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	c.Events.modified = hook
}

// NoLimit is "max".
const NoLimit = -1

// CgroupNamespace is where a task sees the root of the hierarchy.
type CgroupNamespace struct {
	ino   uint64
	owner *vfs.UserNamespace
	root  *Cgroup
}

// Root is the group that the namespace shows as "/".
func (n *CgroupNamespace) Root() *Cgroup { return n.root }

func newRootCgroup(k *Kernel) *Cgroup {
	return &Cgroup{k: k, id: 1, children: make(map[string]*Cgroup), members: make(map[*Group]struct{}), max: NoLimit, maxDepth: NoLimit, maxBelow: NoLimit}
}

func (k *Kernel) newCgroupNamespace(t *Task, owner *vfs.UserNamespace) *CgroupNamespace {
	return &CgroupNamespace{newNamespaceIno(), owner, t.group.Cgroup()}
}

// RootCgroup is the root of the hierarchy.
func (k *Kernel) RootCgroup() *Cgroup { return k.cgroup }

// Cgroup is the process's group.
func (g *Group) Cgroup() *Cgroup {
	g.k.mu.Lock()
	defer g.k.mu.Unlock()
	return g.cgroup
}

// ID is the group's number, for inode numbers.
func (c *Cgroup) ID() uint64 { return c.id }

// Name is the name of the group's directory.
func (c *Cgroup) Name() string { return c.name }

// IsRoot reports the root of the hierarchy.
func (c *Cgroup) IsRoot() bool { return c.parent == nil }

// Path is the group's place as seen from root: "/a/b", "/../b" outside of it, with " (deleted)" when it is gone.
func (c *Cgroup) Path(root *Cgroup) string {
	above := make(map[*Cgroup]bool)
	for a := root; a != nil; a = a.parent {
		above[a] = true
	}
	var parts []string
	a := c
	for ; !above[a]; a = a.parent {
		parts = append(parts, a.name)
	}
	for ; root != a; root = root.parent {
		parts = append(parts, "..")
	}
	slices.Reverse(parts)
	p := "/" + strings.Join(parts, "/")
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	if c.dead {
		p += " (deleted)"
	}
	return p
}

// Child answers the group of that name, or nil; Children all names.
func (c *Cgroup) Child(name string) *Cgroup {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	return c.children[name]
}

// Children lists the names of the groups below.
func (c *Cgroup) Children() []string {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	names := make([]string, 0, len(c.children))
	for n := range c.children {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Dead reports that the group was removed.
func (c *Cgroup) Dead() bool {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	return c.dead
}

// maxCgroupDepth bounds the hierarchy: every fork walks up to the root.
const maxCgroupDepth = 64

// Make is mkdir(2). Errors: EEXIST, ENOENT, EAGAIN (too deep: cgroup.max.depth).
func (c *Cgroup) Make(name string) (*Cgroup, error) {
	k := c.k
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case c.dead:
		return nil, unix.ENOENT
	case c.children[name] != nil:
		return nil, unix.EEXIST
	}
	depth := 1
	for a := c; a != nil; a = a.parent {
		if a.maxDepth != NoLimit && depth > a.maxDepth || a.maxBelow != NoLimit && len(a.belowLocked()) > a.maxBelow {
			return nil, unix.EAGAIN
		}
		depth++
	}
	if depth > maxCgroupDepth {
		return nil, unix.EAGAIN
	}
	k.lastCgroup++
	n := newRootCgroup(k)
	n.parent, n.name, n.id = c, name, k.lastCgroup
	n.frozen = n.frozenByLocked()
	c.children[name] = n
	return n, nil
}

// Remove is rmdir(2). Errors: EBUSY while there are processes (zombies do not count) or groups in it, ENOENT.
func (c *Cgroup) Remove() error {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	switch {
	case c.dead:
		return unix.ENOENT
	case c.parent == nil, c.populated > 0, len(c.children) > 0:
		return unix.EBUSY
	}
	c.dead = true
	delete(c.parent.children, c.name)
	return nil
}

// limited says whether pids.max of the group counts: whether the parent hands the controller down.
func (c *Cgroup) limited() bool { return c.parent != nil && c.parent.subtree }

// Limited says whether the group has the files of the pids controller.
func (c *Cgroup) Limited() bool {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	return c.limited()
}

// chargeLocked counts n more tasks in the group and all above. The error is EAGAIN when a limit would be passed; force is for tasks that exist.
func (c *Cgroup) chargeLocked(n int, force bool) error {
	for a := c; a != nil && !force; a = a.parent {
		if a.limited() && a.max != NoLimit && a.tasks+n > a.max {
			for o := a; o.parent != nil; o = o.parent {
				o.refused++
				o.tell(&o.Events.Pids, "pids.events")
			}
			return unix.EAGAIN
		}
	}
	for a := c; a != nil; a = a.parent {
		a.tasks += n
		a.peak = max(a.peak, a.tasks)
	}
	return nil
}

func (c *Cgroup) tell(n *CgroupNews, file string) {
	n.epoch.Add(1)
	n.Notify(wait.Pri | wait.Err)
	if c.Events.modified != nil {
		c.Events.modified(file)
	}
}

// enterLocked adds a live process, leaveLocked takes one out that ends or moves.
func (c *Cgroup) enterLocked(g *Group) {
	g.cgroup = c
	c.members[g] = struct{}{}
	c.populateLocked(1)
}

func (c *Cgroup) populateLocked(n int) {
	for a := c; a != nil; a = a.parent {
		was := a.populated > 0
		a.populated += n
		if was == (a.populated > 0) {
			return
		}
		a.tell(&a.Events.Events, "cgroup.events")
		n = 1
		if was {
			n = -1
		}
	}
}

// Move is a write to cgroup.procs: the process with its threads goes to the group. Errors: EBUSY (the group hands controllers to groups in it),
// ENODEV (it was removed), ESRCH.
func (c *Cgroup) Move(g *Group) error {
	k := c.k
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case c.dead:
		return unix.ENODEV
	case c.subtree && c.parent != nil:
		return unix.EBUSY
	case g.zombie || len(g.tasks) == 0:
		return unix.ESRCH
	case g.cgroup == c:
		return nil
	}
	old := g.cgroup
	n := g.unreaped
	delete(old.members, g)
	old.chargeLocked(-n, true)
	c.chargeLocked(n, true)
	c.enterLocked(g)
	old.populateLocked(-1)
	k.refreezeLocked(g)
	old.frozenNewsLocked()
	c.frozenNewsLocked()
	return nil
}

// Common answers the nearest group that both are in or below.
func (c *Cgroup) Common(o *Cgroup) *Cgroup {
	above := make(map[*Cgroup]bool)
	for a := c; a != nil; a = a.parent {
		above[a] = true
	}
	for !above[o] {
		o = o.parent
	}
	return o
}

// Processes lists the processes in the group that have not ended, with the kernel's numbers; Threads their threads.
func (c *Cgroup) Processes() (pids []int) {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	for g := range c.members {
		if !g.zombie && len(g.tasks) > 0 {
			pids = append(pids, g.pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// Threads lists the threads in the group.
func (c *Cgroup) Threads() (tids []int) {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	for g := range c.members {
		for _, t := range g.tasks {
			tids = append(tids, t.tid)
		}
	}
	slices.Sort(tids)
	return tids
}

// CgroupState is what the files of a group show.
type CgroupState struct {
	Populated, Frozen, Freeze, Subtree bool
	Current, Peak, Max, Refused        int
	Below, MaxBelow, MaxDepth          int // groups below, and limits of them
}

// State answers it.
func (c *Cgroup) State() CgroupState {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	s := CgroupState{Populated: c.populated > 0, Frozen: c.frozen, Freeze: c.freeze, Subtree: c.subtree, Current: c.tasks, Peak: c.peak, Max: c.max, Refused: c.refused}
	s.Below, s.MaxBelow, s.MaxDepth = len(c.belowLocked())-1, c.maxBelow, c.maxDepth
	return s
}

// SetMax is a write to pids.max.
func (c *Cgroup) SetMax(n int) {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	c.max = n
}

// SetBounds is a write to cgroup.max.depth and cgroup.max.descendants.
func (c *Cgroup) SetBounds(depth, below int) {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	c.maxDepth, c.maxBelow = depth, below
}

// SetSubtree is a write to cgroup.subtree_control: pids is handed to the groups below or not. Errors: ENOENT (the group itself has not got it), EBUSY (it
// has processes, or groups below hand it on).
func (c *Cgroup) SetSubtree(on bool) error {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	switch {
	case c.dead:
		return unix.ENODEV
	case on == c.subtree:
		return nil
	case on && c.parent != nil && !c.parent.subtree:
		return unix.ENOENT
	}
	if on && c.parent != nil {
		for g := range c.members {
			if !g.zombie {
				return unix.EBUSY
			}
		}
	}
	for _, child := range c.children {
		if !on {
			if child.subtree {
				return unix.EBUSY
			}
			child.max, child.refused = NoLimit, 0
		}
	}
	c.subtree = on
	return nil
}

// belowLocked lists the group and all below it.
func (c *Cgroup) belowLocked() []*Cgroup {
	list := []*Cgroup{c}
	for i := 0; i < len(list); i++ {
		for _, child := range list[i].children {
			list = append(list, child)
		}
	}
	return list
}

// Kill is a write to cgroup.kill: everything in it and below dies.
func (c *Cgroup) Kill() {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	for _, a := range c.belowLocked() {
		for g := range a.members {
			if !g.zombie {
				c.k.killGroupLocked(g, int(unix.SIGKILL))
			}
		}
	}
}

// SetFreeze is a write to cgroup.freeze.
func (c *Cgroup) SetFreeze(on bool) {
	k := c.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.freeze == on {
		return
	}
	c.freeze = on
	for _, a := range c.belowLocked() {
		for g := range a.members {
			k.refreezeLocked(g)
		}
	}
	for _, a := range c.belowLocked() {
		a.frozenNewsLocked()
	}
}

// frozenByLocked says whether the group or one above is to be frozen.
func (c *Cgroup) frozenByLocked() bool {
	for ; c != nil; c = c.parent {
		if c.freeze {
			return true
		}
	}
	return false
}

// refreezeLocked makes the threads of g stop, or go on, as their group says.
func (k *Kernel) refreezeLocked(g *Group) {
	on := g.cgroup.frozenByLocked()
	switch {
	case on && g.thaw == nil:
		g.thaw = make(chan struct{})
		for _, t := range g.tasks {
			t.notifyLocked()
		}
	case !on && g.thaw != nil:
		close(g.thaw)
		g.thaw = nil
	}
}

// freezeLocked keeps the calling task in the kernel until its group is thawed or it is killed. Kernel.mu is released meanwhile.
func (t *Task) freezeLocked() {
	k, g := t.k, t.group
	thaw := g.thaw
	t.frozen = true
	g.cgroup.frozenNewsLocked()
	k.mu.Unlock()
	t.offCPU()
	t.state.Store(int32(StateSleeping))
	select {
	case <-thaw:
	case <-t.interrupt:
	}
	t.state.Store(int32(StateRunning))
	t.onCPU()
	k.mu.Lock()
	if t.frozen = g.thaw != nil && !t.killed; !t.frozen {
		g.cgroup.frozenNewsLocked()
	}
}

// frozenNewsLocked tells cgroup.events of the group and those above when all of it is frozen, or no more.
func (c *Cgroup) frozenNewsLocked() {
	for a := c; a != nil; a = a.parent {
		now := a.frozenByLocked() && a.allFrozenLocked()
		if now != a.frozen {
			a.frozen = now
			a.tell(&a.Events.Events, "cgroup.events")
		}
	}
}

func (c *Cgroup) allFrozenLocked() bool {
	for _, a := range c.belowLocked() {
		for g := range a.members {
			for _, t := range g.tasks {
				if !t.frozen && !t.stoppedIn {
					return false
				}
			}
		}
	}
	return true
}
