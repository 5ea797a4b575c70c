package vfs

// Capabilities of files that a change of the file-system user id touches (CAP_FS_SET): CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER,
// FSETID, LINUX_IMMUTABLE, MKNOD, MAC_OVERRIDE.
const fileCaps CapSet = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<9 | 1<<27 | 1<<32

// root is the user that is 0 in the credentials' user namespace.
func (c *Creds) root() uint32 { return c.User.KernelUID(0) }

// AfterSetUID answers c, which old's owner is to become by a call that sets real, effective and saved user ids, with the capabilities that are left
// to it (capabilities(7), "Effect of user ID changes").
func (c *Creds) AfterSetUID(old *Creds) *Creds {
	if old.Secure&SecureNoSetuidFixup != 0 {
		return c
	}
	root := old.root()
	is := func(c *Creds) bool { return c.UID == root || c.EUID == root || c.SUID == root }
	if is(old) && !is(c) {
		if old.Secure&SecureKeepCaps == 0 {
			c.Permitted, c.Effective = 0, 0
		}
		c.Ambient = 0
	}
	switch {
	case old.EUID == root && c.EUID != root:
		c.Effective = 0
	case old.EUID != root && c.EUID == root:
		c.Effective = c.Permitted
	}
	return c
}

// AfterSetFSUID does the same for setfsuid(2).
func (c *Creds) AfterSetFSUID(old *Creds) *Creds {
	if old.Secure&SecureNoSetuidFixup != 0 {
		return c
	}
	root := old.root()
	switch {
	case old.FSUID == root && c.FSUID != root:
		c.Effective &^= fileCaps
	case old.FSUID != root && c.FSUID == root:
		c.Effective |= c.Permitted & fileCaps
	}
	return c
}

// Exec answers the credentials after execve(2) of a file that sets the ids euid and egid (those of the process, if it sets none), and whether the program
// has to distrust its environment (AT_SECURE). Capabilities of files are not supported: they are like files without.
func (c *Creds) Exec(euid, egid uint32) (n *Creds, secure bool) {
	n = new(Creds)
	*n = *c
	n.EUID, n.EGID = euid, egid
	root := c.root()
	n.Permitted = 0
	effective := false
	if c.Secure&SecureNoRoot == 0 {
		if n.EUID == root || n.UID == root {
			n.Permitted = c.Bounding | c.Inheritable
		}
		effective = n.EUID == root
	}
	setid := n.EUID != c.EUID || n.EGID != c.EGID && !c.InEffectiveGroup(n.EGID)
	n.SUID, n.FSUID, n.SGID, n.FSGID = n.EUID, n.EUID, n.EGID, n.EGID
	if setid {
		n.Ambient = 0
	}
	n.Permitted |= n.Ambient
	n.Effective = n.Ambient
	if effective {
		n.Effective = n.Permitted
	}
	n.Secure &^= SecureKeepCaps
	secure = n.EUID != n.UID || n.EGID != n.GID || n.UID != root && (effective || n.Permitted&^n.Ambient != 0)
	return n, secure
}

// InEffectiveGroup reports whether gid is the effective group or a supplementary one.
func (c *Creds) InEffectiveGroup(gid uint32) bool {
	for _, g := range c.Groups {
		if g == gid {
			return true
		}
	}
	return c.EGID == gid
}

// Errno-free checks of the calls that change capability sets.

// MayCapset says whether the three sets may be set (cap_capset).
func (c *Creds) MayCapset(effective, inheritable, permitted CapSet, privileged bool) bool {
	if !privileged && inheritable&^(c.Inheritable|c.Permitted) != 0 {
		return false
	}
	return inheritable&^(c.Inheritable|c.Bounding) == 0 && permitted&^c.Permitted == 0 && effective&^permitted == 0
}
