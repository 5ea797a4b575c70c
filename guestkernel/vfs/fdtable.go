package vfs

import (
	"sync"

	"golang.org/x/sys/unix"
)

// MaxDescriptors bounds descriptor numbers whatever RLIMIT_NOFILE says (Linux: fs.nr_open).
const MaxDescriptors = 1 << 20

// FDTable is a table of file descriptors. Threads share one; fork copies it. All methods may be called from any goroutine; none closes
// a file with the table locked.
type FDTable struct {
	mu      sync.RWMutex
	entries []fdEntry
	low     int // no free number is below this
	open    int
	users   int // tasks that share the table
}

type fdEntry struct {
	d       *Description
	cloexec bool
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
		t.closeIf(func(int, fdEntry) bool { return true })
	}
}

// Fork copies the table; the copy shares the descriptions and has one user.
func (t *FDTable) Fork() *FDTable {
	t.mu.RLock()
	defer t.mu.RUnlock()
	n := &FDTable{users: 1, low: t.low, open: t.open, entries: make([]fdEntry, len(t.entries))}
	copy(n.entries, t.entries)
	for _, e := range n.entries {
		if e.d != nil {
			e.d.Ref()
		}
	}
	return n
}

// Get answers the description of fd with a reference that the caller drops, or EBADF.
func (t *FDTable) Get(fd int) (*Description, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if fd < 0 || fd >= len(t.entries) || t.entries[fd].d == nil {
		return nil, unix.EBADF
	}
	d := t.entries[fd].d
	d.Ref()
	return d, nil
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
	for fd < len(t.entries) && t.entries[fd].d != nil {
		fd++
	}
	if uint64(fd) >= limit {
		return 0, unix.EMFILE
	}
	t.put(fd, fdEntry{d, cloexec})
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
		if t.entries[fd].d == nil {
			return true
		}
	}
	return false
}

// put stores e at fd, which is free.
func (t *FDTable) put(fd int, e fdEntry) {
	for fd >= len(t.entries) {
		t.entries = append(t.entries, fdEntry{})
	}
	t.entries[fd] = e
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
	var old *Description
	if fd < len(t.entries) && t.entries[fd].d != nil {
		old = t.entries[fd].d
		t.entries[fd] = fdEntry{d, cloexec}
	} else {
		t.put(fd, fdEntry{d, cloexec})
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
	if fd < 0 || fd >= len(t.entries) || t.entries[fd].d == nil {
		return nil, unix.EBADF
	}
	d := t.entries[fd].d
	t.entries[fd] = fdEntry{}
	t.open--
	t.low = min(t.low, fd)
	return d, nil
}

// CloseOnExec answers the FD_CLOEXEC flag of fd.
func (t *FDTable) CloseOnExec(fd int) (bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if fd < 0 || fd >= len(t.entries) || t.entries[fd].d == nil {
		return false, unix.EBADF
	}
	return t.entries[fd].cloexec, nil
}

// SetCloseOnExec sets the FD_CLOEXEC flag of fd.
func (t *FDTable) SetCloseOnExec(fd int, cloexec bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd < 0 || fd >= len(t.entries) || t.entries[fd].d == nil {
		return unix.EBADF
	}
	t.entries[fd].cloexec = cloexec
	return nil
}

// Exec closes the descriptors with FD_CLOEXEC: for execve, on a table with one user.
func (t *FDTable) Exec() { t.closeIf(func(_ int, e fdEntry) bool { return e.cloexec }) }

// CloseRange closes the descriptors first..last, or sets their FD_CLOEXEC flag: close_range(2).
func (t *FDTable) CloseRange(first, last uint32, cloexec bool) {
	in := func(fd int) bool { return uint64(fd) >= uint64(first) && uint64(fd) <= uint64(last) }
	if !cloexec {
		t.closeIf(func(fd int, _ fdEntry) bool { return in(fd) })
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for fd := range t.entries {
		if in(fd) && t.entries[fd].d != nil {
			t.entries[fd].cloexec = true
		}
	}
}

func (t *FDTable) closeIf(match func(int, fdEntry) bool) {
	var closing []*Description
	t.mu.Lock()
	for fd, e := range t.entries {
		if e.d != nil && match(fd, e) {
			closing = append(closing, e.d)
			t.entries[fd] = fdEntry{}
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
	for fd, e := range t.entries {
		if e.d != nil {
			fds = append(fds, fd)
		}
	}
	return fds
}
