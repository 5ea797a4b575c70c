// Package initramfs makes the root file system that a guest starts from when the user
// names none: Debian's busybox with a symbolic link for each applet, and the folders and
// files in /etc that a shell expects.
//
// The archive is a cpio in the "newc" format (kernel documentation, driver-api/early-userspace/buffer-format).
package initramfs

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// directories are made before anything that lies in them; mode bits as in Debian.
var directories = []struct {
	name string
	mode fs.FileMode
}{
	{"bin", 0o755}, {"dev", 0o755}, {"etc", 0o755}, {"home", 0o755}, {"mnt", 0o755}, {"proc", 0o755}, {"root", 0o700},
	{"run", 0o755}, {"sbin", 0o755}, {"sys", 0o755}, {"tmp", 0o777}, {"usr", 0o755}, {"usr/bin", 0o755}, {"usr/sbin", 0o755}, {"var", 0o755},
}

var files = []struct{ name, content string }{
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
	{"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
	{"etc/hostname", "ringo\n"},
	{"etc/hosts", "127.0.0.1\tlocalhost\n"},
	{"etc/profile", "export PATH=/sbin:/bin:/usr/sbin:/usr/bin\n"},
}

// Write writes the archive. busybox is the static binary's content; applets are the names
// that `busybox --list` prints, one a line. The same input gives the same bytes.
func Write(w io.Writer, busybox []byte, applets string) error {
	names := strings.Fields(applets)
	if !slices.Contains(names, "sh") {
		return fmt.Errorf("list of %d applets has no sh: is it the output of `busybox --list`?", len(names))
	}
	slices.Sort(names)
	archive := cpio.Newc.Writer(w)
	var inode uint64
	add := func(r cpio.Record) error {
		inode++
		r.Ino, r.NLink = inode, 1
		if err := archive.WriteRecord(cpio.MakeReproducible(r)); err != nil {
			return fmt.Errorf("initramfs entry %s: %w", r.Name, err)
		}
		return nil
	}
	for _, d := range directories {
		mode := uint64(d.mode)
		if d.name == "tmp" {
			mode |= 0o1000 // sticky
		}
		if err := add(cpio.Directory(d.name, mode)); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := add(cpio.StaticFile(f.name, f.content, 0o644)); err != nil {
			return err
		}
	}
	if err := add(cpio.StaticFile("bin/busybox", string(busybox), 0o755)); err != nil {
		return err
	}
	for _, name := range slices.Compact(names) {
		if name == "busybox" || name != path.Base(name) {
			continue
		}
		if err := add(cpio.Symlink("bin/"+name, "busybox")); err != nil {
			return err
		}
	}
	if err := cpio.WriteTrailer(archive); err != nil {
		return fmt.Errorf("initramfs trailer: %w", err)
	}
	return nil
}
