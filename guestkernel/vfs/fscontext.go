package vfs

import "sync"

// FSContext is a task's place in the file tree: root, working directory, umask. Threads share one; fork copies it.
type FSContext struct {
	mu    sync.RWMutex
	root  Path
	cwd   Path
	umask uint32
	users int
}

// NewFSContext answers a context with one user that stands at root.
func NewFSContext(root Path) *FSContext {
	root.Mount.hold()
	root.Mount.hold()
	return &FSContext{root: root, cwd: root, umask: 0o022, users: 1}
}

// Share adds a user: clone with CLONE_FS.
func (f *FSContext) Share() *FSContext {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users++
	return f
}

// Fork copies the context; the copy has one user.
func (f *FSContext) Fork() *FSContext {
	f.mu.RLock()
	defer f.mu.RUnlock()
	f.root.Mount.hold()
	f.cwd.Mount.hold()
	return &FSContext{root: f.root, cwd: f.cwd, umask: f.umask, users: 1}
}

// Shared reports whether others use the context too.
func (f *FSContext) Shared() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.users > 1
}

// Move replaces root and working directory by what to answers for them.
func (f *FSContext) Move(to func(Path) Path) {
	f.SetRoot(to(f.Root()))
	f.SetCwd(to(f.Cwd()))
}

// Leave drops a user; the last one lets go of root and working directory.
func (f *FSContext) Leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users--
	if f.users == 0 {
		f.root.Mount.drop()
		f.cwd.Mount.drop()
	}
}

// Root is the root directory.
func (f *FSContext) Root() Path {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.root
}

// Cwd is the working directory.
func (f *FSContext) Cwd() Path {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.cwd
}

// SetRoot changes the root directory.
func (f *FSContext) SetRoot(p Path) { f.set(&f.root, p) }

// SetCwd changes the working directory.
func (f *FSContext) SetCwd(p Path) { f.set(&f.cwd, p) }

func (f *FSContext) set(which *Path, p Path) {
	p.Mount.hold()
	f.mu.Lock()
	old := *which
	*which = p
	f.mu.Unlock()
	old.Mount.drop()
}

// Umask is the file mode creation mask.
func (f *FSContext) Umask() uint32 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.umask
}

// SetUmask stores a new mask and answers the old one.
func (f *FSContext) SetUmask(mask uint32) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.umask
	f.umask = mask & 0o777
	return old
}
