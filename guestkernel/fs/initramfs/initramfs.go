// Package initramfs unpacks cpio archives into a filesystem: the format is newc, with or without checksums, several archives one after the other,
// each plain or gzip (kernel documentation, driver-api/early-userspace/buffer-format).
//
// File data is not copied: a file shows the archive's bytes until somebody writes to it. So the archive's memory has to stay as
// it is for as long as the filesystem lives.
package initramfs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

const (
	headerSize = 110
	trailer    = "TRAILER!!!"
	// maxUnpacked bounds what compressed archives may grow to, in bytes.
	maxUnpacked = 1 << 31
)

// header is the fixed part of an entry. Fields are in the order of the archive.
type header struct {
	ino, mode, uid, gid, nlink, mtime, size, major, minor, rmajor, rminor, nameSize, check uint32
}

// backer is a directory that can show bytes without copying them: tmpfs.
type backer interface {
	CreateBacked(c vfs.Caller, name string, mode uint32, data []byte) (vfs.Inode, error)
}

// Unpack unpacks everything in archive below the caller's root. It stops at the first entry that is damaged or cannot be made. It answers
// the number of entries that it made.
func Unpack(c vfs.Caller, archive []byte) (int, error) {
	u := unpacker{c: c, budget: maxUnpacked}
	err := u.run(archive, true)
	return u.entries, err
}

type unpacker struct {
	c       vfs.Caller
	entries int
	budget  int
	links   map[linkKey]string // first name of each file with several
	dirName string             // without the slash at its end
	dir     vfs.Path           // the directory of that name, or nothing
}

type linkKey struct{ ino, major, minor uint32 }

// run unpacks the archives in data; nested compression is refused.
func (u *unpacker) run(data []byte, compressed bool) error {
	at := 0
	for at < len(data) {
		rest := data[at:]
		switch {
		case rest[0] == 0:
			at++
		case len(rest) >= 6 && (string(rest[:6]) == "070701" || string(rest[:6]) == "070702"):
			n, err := u.archive(rest)
			if err != nil {
				return fmt.Errorf("initramfs at byte %d: %w", at, err)
			}
			at += n
		case compressed && len(rest) > 2 && rest[0] == 0x1f && rest[1] == 0x8b:
			n, err := u.gzip(rest)
			if err != nil {
				return fmt.Errorf("initramfs at byte %d: %w", at, err)
			}
			at += n
		default:
			return fmt.Errorf("initramfs at byte %d: starts with %q: neither cpio newc nor gzip", at, rest[:min(6, len(rest))])
		}
	}
	return nil
}

// gzip unpacks one compressed archive and answers how many bytes it took.
func (u *unpacker) gzip(data []byte) (int, error) {
	in := bytes.NewReader(data)
	z, err := gzip.NewReader(in)
	if err != nil {
		return 0, fmt.Errorf("gzip: %w", err)
	}
	z.Multistream(false)
	plain, err := io.ReadAll(io.LimitReader(z, int64(u.budget)+1))
	if err != nil {
		return 0, fmt.Errorf("gzip: %w", err)
	}
	if u.budget -= len(plain); u.budget < 0 {
		return 0, fmt.Errorf("gzip: unpacks to more than %d bytes", maxUnpacked)
	}
	return len(data) - in.Len(), u.run(plain, false)
}

// archive unpacks one archive up to its trailer and answers how many bytes it took. Offsets are aligned to 4 bytes from its start.
func (u *unpacker) archive(data []byte) (int, error) {
	u.links = nil
	at := 0
	for {
		if len(data)-at < headerSize {
			return 0, fmt.Errorf("entry %d: archive ends in a header", u.entries)
		}
		h, err := parse(data[at : at+headerSize])
		if err != nil {
			return 0, fmt.Errorf("entry %d: %w", u.entries, err)
		}
		at += headerSize
		if h.nameSize == 0 || h.nameSize > unix.PathMax || int64(h.nameSize) > int64(len(data)-at) {
			return 0, fmt.Errorf("entry %d: name of %d bytes", u.entries, h.nameSize)
		}
		raw, _, _ := bytes.Cut(data[at:at+int(h.nameSize)], []byte{0})
		name := "/" + string(raw)
		at = align(at + int(h.nameSize))
		if at > len(data) || int64(h.size) > int64(len(data)-at) {
			return 0, fmt.Errorf("%q: %d bytes of data, but the archive ends before", name, h.size)
		}
		body := data[at : at+int(h.size) : at+int(h.size)]
		at = min(align(at+int(h.size)), len(data))
		if name[1:] == trailer {
			return at, nil
		}
		if err := u.entry(h, path.Clean(name), body); err != nil {
			return 0, fmt.Errorf("%q (mode %#o): %w", name, h.mode, err)
		}
		u.entries++
		if at == len(data) {
			return at, nil // no trailer: as good as one
		}
	}
}

func align(n int) int { return (n + 3) &^ 3 }

func parse(b []byte) (h header, err error) {
	if m := string(b[:6]); m != "070701" && m != "070702" {
		return h, fmt.Errorf("magic %q", m)
	}
	for i, f := range []*uint32{&h.ino, &h.mode, &h.uid, &h.gid, &h.nlink, &h.mtime, &h.size, &h.major, &h.minor, &h.rmajor, &h.rminor, &h.nameSize, &h.check} {
		for _, c := range b[6+8*i : 14+8*i] {
			var d byte
			switch {
			case c >= '0' && c <= '9':
				d = c - '0'
			case c >= 'a' && c <= 'f':
				d = c - 'a' + 10
			case c >= 'A' && c <= 'F':
				d = c - 'A' + 10
			default:
				return h, fmt.Errorf("header field %d holds %q: not hexadecimal", i, b[6+8*i:14+8*i])
			}
			*f = *f<<4 | uint32(d)
		}
	}
	return h, nil
}

// entry makes one entry; name is absolute and without "..", so that entries stay below the root.
func (u *unpacker) entry(h header, name string, body []byte) error {
	kind := h.mode & unix.S_IFMT
	if name == "/" {
		if kind != unix.S_IFDIR {
			return unix.EISDIR
		}
		attributes(h, u.c.FS().Root().Inode())
		return nil
	}
	if kind != unix.S_IFDIR && h.nlink > 1 {
		key := linkKey{h.ino, h.major, h.minor}
		if first, ok := u.links[key]; ok {
			return u.link(h, first, name, body)
		}
		if u.links == nil {
			u.links = make(map[linkKey]string)
		}
		u.links[key] = name
	}
	err := u.make(h, name, body)
	switch err {
	case unix.ENOENT:
		if err = u.parents(name); err == nil {
			err = u.make(h, name, body)
		}
	case unix.EEXIST:
		var old vfs.Inode
		if old, err = u.makeRoom(kind, name); old != nil {
			attributes(h, old)
		} else if err == nil {
			err = u.make(h, name, body)
		}
	}
	return err
}

// at answers where name is to be looked up: archives come directory by directory, so the last directory is remembered.
func (u *unpacker) at(name string) (vfs.Path, string, error) {
	i := strings.LastIndexByte(name, '/')
	if dir := name[:i]; dir != u.dirName || u.dir.Dentry == nil {
		p, err := vfs.Lookup(u.c, vfs.AtCwd(u.c), dir+"/", vfs.Follow|vfs.WantDirectory)
		if err != nil {
			return vfs.Path{}, "", err
		}
		u.dir, u.dirName = p, dir
	}
	return u.dir, name[i+1:], nil
}

// make makes the entry itself.
func (u *unpacker) make(h header, name string, body []byte) error {
	at, last, err := u.at(name)
	if err != nil {
		return err
	}
	return vfs.MakeIn(at, last, func(dir vfs.Inode, last string) (err error) {
		var i vfs.Inode
		switch h.mode & unix.S_IFMT {
		case unix.S_IFLNK:
			i, err = dir.Symlink(u.c, last, string(body))
		case unix.S_IFREG:
			b, ok := dir.(backer)
			if !ok {
				return unix.EOPNOTSUPP
			}
			i, err = b.CreateBacked(u.c, last, h.mode, body)
		case unix.S_IFDIR, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK:
			i, err = dir.Create(u.c, last, h.mode&(unix.S_IFMT|0o7777), unix.Mkdev(h.rmajor, h.rminor))
		default:
			return unix.EINVAL
		}
		if err == nil {
			attributes(h, i)
		}
		return err
	})
}

// parents makes the directories that lead to name: Linux leaves such entries out without a word.
func (u *unpacker) parents(name string) error {
	for i := 1; i < len(name); i++ {
		if name[i] == '/' {
			if err := vfs.Mkdir(u.c, vfs.AtCwd(u.c), name[:i], 0o755); err != nil && err != unix.EEXIST {
				return err
			}
		}
	}
	return nil
}

// makeRoom takes away what a later archive replaces. A directory stays for a directory: it is answered.
func (u *unpacker) makeRoom(kind uint32, name string) (vfs.Inode, error) {
	u.dir = vfs.Path{}
	p, err := vfs.Lookup(u.c, vfs.AtCwd(u.c), name, 0)
	if err != nil {
		return nil, err
	}
	if p.Inode().Attributes().IsDir() {
		if kind == unix.S_IFDIR {
			return p.Inode(), nil
		}
		return nil, vfs.Rmdir(u.c, vfs.AtCwd(u.c), name)
	}
	return nil, vfs.Unlink(u.c, vfs.AtCwd(u.c), name)
}

// link makes a further name of a file. Its data may come with any of the names.
func (u *unpacker) link(h header, first, name string, body []byte) error {
	old, err := vfs.Lookup(u.c, vfs.AtCwd(u.c), first, 0)
	if err != nil {
		return err
	}
	err = vfs.Link(u.c, old, vfs.AtCwd(u.c), name)
	switch err {
	case unix.ENOENT:
		if err = u.parents(name); err == nil {
			err = vfs.Link(u.c, old, vfs.AtCwd(u.c), name)
		}
	case unix.EEXIST:
		if _, err = u.makeRoom(0, name); err == nil {
			err = vfs.Link(u.c, old, vfs.AtCwd(u.c), name)
		}
	}
	if err != nil || len(body) == 0 {
		return err
	}
	d, err := vfs.OpenPath(u.c, old, unix.O_WRONLY|unix.O_TRUNC, false)
	if err != nil {
		return err
	}
	defer d.Unref()
	if _, err := d.Write(u.c, vfs.Bytes(body)); err != nil {
		return err
	}
	attributes(h, old.Inode())
	return nil
}

// attributes sets what making the entry did not.
func attributes(h header, i vfs.Inode) {
	perm := h.mode
	if h.mode&unix.S_IFMT == unix.S_IFLNK {
		perm = 0o777
	}
	a := i.Attributes()
	a.SetOwner(perm, h.uid, h.gid)
	t := unix.Timespec{Sec: int64(h.mtime)}
	a.SetTimes(t, t)
}
