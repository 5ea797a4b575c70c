package vfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// MaxDescriptors bounds descriptor numbers whatever RLIMIT_NOFILE says (Linux: fs.nr_open).
const MaxDescriptors = 1 << 20

// FDTable is a table of file descriptors. Threads share one; fork copies it. All methods may be called from any goroutine; none closes
// a file with the table locked.
//
// Get takes no lock: it reads seen, the latest array of entries, and takes a reference if there still is one to be shared, as fget of Linux does under RCU.
// Everybody else holds mu. An array that has become too small is copied and never written to again, so that whoever began before sees it as it was.
type FDTable struct {
	mu      sync.RWMutex
	entries []fdEntry
	seen    atomic.Pointer[[]fdEntry]
	low     int // no free number is below this
	open    int
	users   int // tasks that share the table
}

type fdEntry struct {
	at      atomic.Pointer[Description] // written with FDTable.mu held
	cloexec bool                        // guarded by FDTable.mu
}

// NewFDTable answers an empty table with one user.
func NewFDTable() *FDTable { return &FDTable{users: 1} }

// Share adds a user: clone with CLONE_FILES.
func (t *FDTable) Share() *FDTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users++
	return t
}

// Shared reports whether more than one task uses the table.
func (t *FDTable) Shared() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.users > 1
}

// Leave drops a user; the last one closes everything.
func (t *FDTable) Leave() {
	t.mu.Lock()
	t.users--
	last := t.users == 0
	t.mu.Unlock()
	if last {
		t.closeIf(func(int) bool { return true })
	}
}

// Fork copies the table; the copy shares the descriptions and has one user.
func (t *FDTable) Fork() *FDTable {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := &FDTable{users: 1, low: t.low, open: t.open}
	n.grow(len(t.entries))
	for fd := range t.entries {
		if d := t.entries[fd].at.Load(); d != nil {
			d.Ref()
			n.set(fd, d, t.entries[fd].cloexec)
		}
	}
	return n
}

// Get answers the description of fd with a reference that the caller drops, or EBADF.
func (t *FDTable) Get(fd int) (*Description, error) {
	if seen := t.seen.Load(); seen != nil {
		entries := *seen
		for uint(fd) < uint(len(entries)) {
			at := &entries[fd].at
			d := at.Load()
			if d == nil {
				break
			}
			if d.tryRef() {
				if at.Load() == d {
					return d, nil
				}
				d.Unref() // closed meanwhile, and perhaps something else is there now
			}
		}
	}
	return nil, unix.EBADF
}

// at answers the description of fd, nil if there is none. With mu held.
func (t *FDTable) at(fd int) *Description {
	if uint(fd) >= uint(len(t.entries)) {
		return nil
	}
	return t.entries[fd].at.Load()
}

// set stores an entry that there is room for. With mu held.
func (t *FDTable) set(fd int, d *Description, cloexec bool) {
	t.entries[fd].cloexec = cloexec
	t.entries[fd].at.Store(d)
}

// grow makes room for n entries. With mu held.
func (t *FDTable) grow(n int) {
	if n <= len(t.entries) {
		return
	}
	entries := make([]fdEntry, max(n, 2*len(t.entries), 16))
	for fd := range t.entries {
		entries[fd].cloexec = t.entries[fd].cloexec
		entries[fd].at.Store(t.entries[fd].at.Load())
	}
	t.entries = entries
	t.seen.Store(&entries)
}

// Install puts d (taking over the caller's reference) at the lowest free number from min on. limit is RLIMIT_NOFILE: EMFILE when no
// number below it is free, EINVAL when min is not below it (F_DUPFD). On an error the reference stays with the caller.
func (t *FDTable) Install(d *Description, min int, cloexec bool, limit uint64) (int, error) {
	if limit > MaxDescriptors {
		limit = MaxDescriptors
	}
	if min < 0 || min > 0 && uint64(min) >= limit {
		return 0, unix.EINVAL
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fd := max(min, t.low)
	for t.at(fd) != nil {
		fd++
	}
	if uint64(fd) >= limit {
		return 0, unix.EMFILE
	}
	t.put(fd, d, cloexec)
	if min <= t.low {
		t.low = fd + 1
	}
	return fd, nil
}

// HasRoom answers EMFILE when there is no free number below limit: open(2) wants to know before it makes a file.
func (t *FDTable) HasRoom(limit uint64) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.freeBelow(min(limit, MaxDescriptors)) {
		return nil
	}
	return unix.EMFILE
}

// freeBelow reports whether a number below limit is free.
func (t *FDTable) freeBelow(limit uint64) bool {
	if uint64(len(t.entries)) < limit {
		return true
	}
	for fd := t.low; uint64(fd) < limit; fd++ {
		if t.at(fd) == nil {
			return true
		}
	}
	return false
}

// put stores d at fd, which is free.
func (t *FDTable) put(fd int, d *Description, cloexec bool) {
	t.grow(fd + 1)
	t.set(fd, d, cloexec)
	t.open++
}

// Replace puts d (taking over the caller's reference) at fd and closes what was there: dup2(2). EBADF when fd is not below limit.
func (t *FDTable) Replace(d *Description, fd int, cloexec bool, limit uint64) error {
	if limit > MaxDescriptors {
		limit = MaxDescriptors
	}
	if fd < 0 || uint64(fd) >= limit {
		return unix.EBADF
	}
	t.mu.Lock()
	old := t.at(fd)
	if old != nil {
		t.set(fd, d, cloexec)
	} else {
		t.put(fd, d, cloexec)
	}
	t.mu.Unlock()
	if old != nil {
		old.leave(t)
		old.Unref()
	}
	return nil
}

// Remove takes fd out of the table and answers its description with the table's reference: the caller closes it by dropping it. The record
// locks that the table's process has on the file are gone.
func (t *FDTable) Remove(fd int) (*Description, error) {
	d, err := t.take(fd)
	if err == nil {
		d.leave(t)
	}
	return d, err
}

func (t *FDTable) take(fd int) (*Description, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.at(fd)
	if d == nil {
		return nil, unix.EBADF
	}
	t.set(fd, nil, false)
	t.open--
	t.low = min(t.low, fd)
	return d, nil
}

// CloseOnExec answers the FD_CLOEXEC flag of fd.
func (t *FDTable) CloseOnExec(fd int) (bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.at(fd) == nil {
		return false, unix.EBADF
	}
	return t.entries[fd].cloexec, nil
}

// SetCloseOnExec sets the FD_CLOEXEC flag of fd.
func (t *FDTable) SetCloseOnExec(fd int, cloexec bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at(fd) == nil {
		return unix.EBADF
	}
	t.entries[fd].cloexec = cloexec
	return nil
}

// Exec closes the descriptors with FD_CLOEXEC: for execve, on a table with one user.
func (t *FDTable) Exec() { t.closeIf(func(fd int) bool { return t.entries[fd].cloexec }) }

// CloseRange closes the descriptors first..last, or sets their FD_CLOEXEC flag: close_range(2).
func (t *FDTable) CloseRange(first, last uint32, cloexec bool) {
	in := func(fd int) bool { return uint64(fd) >= uint64(first) && uint64(fd) <= uint64(last) }
	if !cloexec {
		t.closeIf(in)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for fd := range t.entries {
		if in(fd) && t.at(fd) != nil {
			t.entries[fd].cloexec = true
		}
	}
}

func (t *FDTable) closeIf(match func(int) bool) {
	var closing []*Description
	t.mu.Lock()
	for fd := range t.entries {
		if d := t.at(fd); d != nil && match(fd) {
			closing = append(closing, d)
			t.set(fd, nil, false)
			t.open--
			t.low = min(t.low, fd)
		}
	}
	t.mu.Unlock()
	for _, d := range closing {
		d.leave(t)
		d.Unref()
	}
}

// Size is how many descriptors there is room for before the table grows, as Linux counts it: select(2) ignores those beyond.
func (t *FDTable) Size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	size := 256
	for size < len(t.entries) {
		size *= 2
	}
	return size
}

// Numbers answers the descriptors in use, ascending: /proc/PID/fd.
func (t *FDTable) Numbers() []int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	fds := make([]int, 0, t.open)
	for fd := range t.entries {
		if t.at(fd) != nil {
			fds = append(fds, fd)
		}
	}
	return fds
}
