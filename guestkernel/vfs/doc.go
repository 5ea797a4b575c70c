// Package vfs is the virtual file system: what all files have in common, whatever filesystem they are in.
//
//	FDTable     descriptors of a process: numbers, close-on-exec (fdtable.go)
//	Description an open file: flags, position; what dup and fork share (file.go, transfer.go)
//	File        what a filesystem or driver does for an open file; never blocks
//	Path        a Dentry seen through a Mount: what cwd, root and descriptions hold (dentry.go, mount.go)
//	Dentry      a name in a directory; Inode: the object it stands for, with its Attrs (inode.go)
//	Superblock  a filesystem instance: a tree of dentries with one lock
//	Caller      the task on whose behalf something happens: credentials, memory, signals, sleeping (caller.go)
//
// Paths are resolved in resolve.go, entries made and removed in namei.go and open.go, attributes changed in setattr.go. The generic layer
// checks permissions, kinds and existence, so a filesystem only stores: see [Inode]. Errors are errnos (unix.Errno) or the restart
// errors of package wait.
//
// Files never touch user memory: they copy through a [Buffer]. Files never block: they answer [wait.ErrWouldBlock], and [Description.Read]
// and its kin wait on the file's queue, for anything but O_NONBLOCK.
//
// Lock order, from the outside in:
//
//	Description.mu         the position, held through one read or write of a file that has one
//	a file's own locks     page cache write lock, pipe, terminal
//	mm.Space.mu            taken by Buffer copies, which may fault pages in
//	page cache mu          taken by page faults
//	Superblock.tree        shape of a dentry tree; filesystems' directory operations run under it
//	Namespace.mu           the mount table
//	Attrs.mu               attributes; a leaf
//	wait.Queue             a leaf; callbacks run under it
//
// No lock of this package is held while a description is closed, because closing may free pages and wake others. FDTable and FSContext have leaf
// locks of their own.
package vfs
