package vfs

import "sync"

// anonymous is the inode of all files that are nothing but their operations: eventfd, epoll and the like share one, as in Linux.
type anonymous struct {
	Attrs
	NotDirectory
}

var anonymousMount = sync.OnceValue(func() *Mount { return AnonymousMount("anon_inodefs") })

// NewAnonymous answers a description of file; kind is what /proc/self/fd shows in brackets ("eventfd").
func NewAnonymous(c Caller, kind string, flags uint32, file File) (*Description, error) {
	m := anonymousMount()
	i := &anonymous{}
	i.Init(m.Superblock().Dev, 1, 0o600, c.Creds().FSUID, c.Creds().FSGID)
	return NewDescription(m.Anonymous("anon_inode:["+kind+"]", i), flags, file)
}
