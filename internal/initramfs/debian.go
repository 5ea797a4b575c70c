package initramfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// unneeded are parts of packages that programs do without: folders whose contents are left out, as Debian's own minimal images do.
var unneeded = []string{
	"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/", "usr/share/i18n/",
	"usr/share/bash-completion/", "usr/share/bug/", "usr/share/common-licenses/", "usr/share/pixmaps/", "usr/lib/udev/hwdb.d/",
	"usr/share/zoneinfo/right/", "usr/share/perl/5.40.1/pod/", "usr/share/perl/5.40.1/unicore/lib/",
}

// merged are the top-level folders that Debian has made symbolic links into /usr.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// Debian collects what packages contain into one root file system.
type Debian struct {
	entries map[string]debianEntry
}

type debianEntry struct {
	mode uint64 // of stat(2), kind included
	data []byte // of a file, or a link's target
}

// Kinds of files in a mode (stat(2)).
const (
	kindMask   = 0o170000
	kindFolder = 0o040000
	kindFile   = 0o100000
	kindLink   = 0o120000
)

// NewDebian is a root with the folders that every program expects.
func NewDebian() *Debian {
	d := &Debian{entries: map[string]debianEntry{}}
	for _, f := range directories {
		mode := uint64(f.mode) | kindFolder
		if f.name == "tmp" {
			mode |= 0o1000
		}
		if !slices.Contains(merged, f.name) {
			d.entries[f.name] = debianEntry{mode: mode}
		}
	}
	for _, name := range merged {
		d.entries[name] = debianEntry{kindLink | 0o777, []byte("usr/" + name)}
		d.entries["usr/"+name] = debianEntry{mode: kindFolder | 0o755}
	}
	return d
}

// clean makes the name of an entry one below the root, its folder not a link.
func (d *Debian) clean(name string) (string, error) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if first, rest, found := strings.Cut(name, "/"); found && slices.Contains(merged, first) {
		name = "usr/" + first + "/" + rest
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if e, ok := d.entries[dir]; ok && e.mode&kindMask != kindFolder {
			return "", fmt.Errorf("%s lies below %s, which is no folder", name, dir)
		}
	}
	return name, nil
}

// Package adds the files of a package: data is its tar archive, as `dpkg-deb --fsys-tarfile` prints it. Links to the
// same file become symbolic links. Device nodes and the like are refused: packages have none.
func (d *Debian) Package(data io.Reader) error {
	archive := tar.NewReader(data)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := d.clean(h.Name)
		if err != nil {
			return err
		}
		if name == "" || slices.ContainsFunc(unneeded, func(u string) bool { return strings.HasPrefix(name, u) }) {
			continue
		}
		mode := uint64(h.Mode & 0o7777)
		switch h.Typeflag {
		case tar.TypeDir:
			if old, ok := d.entries[name]; !ok || old.mode&kindMask == kindFolder {
				d.entries[name] = debianEntry{mode: kindFolder | mode}
			}
		case tar.TypeSymlink:
			if old, ok := d.entries[name]; ok && old.mode&kindMask == kindFolder {
				continue // a merged folder
			}
			d.entries[name] = debianEntry{kindLink | 0o777, []byte(h.Linkname)}
		case tar.TypeLink:
			target, err := d.clean(h.Linkname)
			if err != nil {
				return err
			}
			d.entries[name] = debianEntry{kindLink | 0o777, []byte("/" + target)}
		case tar.TypeReg:
			b, err := io.ReadAll(archive)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			d.entries[name] = debianEntry{kindFile | mode, b}
		default:
			return fmt.Errorf("%s is of type %q: neither folder, file nor link", name, h.Typeflag)
		}
	}
}

// File adds a file that no package brings, unless there is one.
func (d *Debian) File(name, content string, mode fs.FileMode) {
	if _, there := d.entries[name]; !there {
		d.entries[name] = debianEntry{kindFile | uint64(mode.Perm()), []byte(content)}
	}
}

// configure does what installation scripts would: users, groups and names, from the packages' own templates.
func (d *Debian) configure() {
	for to, from := range map[string]string{"etc/passwd": "usr/share/base-passwd/passwd.master", "etc/group": "usr/share/base-passwd/group.master"} {
		if e, ok := d.entries[from]; ok {
			d.File(to, string(e.data), 0o644)
		}
	}
	for _, f := range files {
		d.File(f.name, f.content, 0o644)
	}
	d.File("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n", 0o644)
	d.File("etc/localtime", "", 0o644)
	for link, target := range map[string]string{"usr/bin/awk": "mawk", "usr/bin/sh": "dash"} {
		if _, there := d.entries[link]; !there {
			if _, there := d.entries["usr/bin/"+target]; there {
				d.entries[link] = debianEntry{kindLink | 0o777, []byte(target)}
			}
		}
	}
}

// Write writes the root as a cpio archive, by name: the same packages give the same bytes.
func (d *Debian) Write(w io.Writer) error {
	d.configure()
	archive := cpio.Newc.Writer(w)
	for i, name := range slices.Sorted(maps.Keys(d.entries)) {
		e := d.entries[name]
		r := cpio.StaticFile(name, string(e.data), 0)
		r.Mode, r.Ino, r.NLink = e.mode, uint64(i+1), 1
		if err := archive.WriteRecord(cpio.MakeReproducible(r)); err != nil {
			return fmt.Errorf("initramfs entry %s: %w", name, err)
		}
	}
	return cpio.WriteTrailer(archive)
}
