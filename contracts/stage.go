package contracts

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// Guest paths of what a run brings along.
const (
	guestFolder = "/contracts"
	guestDriver = "/contracts/.driver"
)

// Stage lays the programs out in a folder as the guest will see them under /contracts, and sets
// their Binary to where they lie. Running machines may use a folder that is staged again:
// every file is replaced as a whole.
func Stage(folder, driver string, programs []Program) error {
	if err := place(driver, filepath.Join(folder, filepath.Base(guestDriver))); err != nil {
		return err
	}
	for i := range programs {
		p := &programs[i]
		if !filepath.IsLocal(p.Name) {
			return fmt.Errorf("contract %q: its name is no path below a folder", p.Name)
		}
		staged := filepath.Join(folder, filepath.FromSlash(p.Name))
		if err := place(p.Binary, staged); err != nil {
			return err
		}
		p.Binary = staged
	}
	return nil
}

// place makes dst the same file as src, or a copy of it.
func place(src, dst string) error {
	from, err := os.Stat(src)
	if err != nil {
		return err
	}
	if to, err := os.Stat(dst); err == nil && os.SameFile(from, to) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d", dst, os.Getpid())
	os.Remove(temporary)
	defer os.Remove(temporary)
	// A link keeps the mode, which must allow execution.
	if from.Mode()&0o111 == 0 || os.Link(src, temporary) != nil {
		if err := copyFile(src, temporary, 0o755); err != nil {
			return err
		}
	}
	return os.Rename(temporary, dst)
}

func copyFile(src, dst string, mode os.FileMode) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// UnpackRoot makes a folder of what an initramfs holds, for the baseline's root: folders, files
// and symbolic links; /dev and /proc are mounted there later. It does nothing when the folder is newer than the archive.
func UnpackRoot(archive, folder string) error {
	stamp := folder + ".stamp"
	source, err := os.Stat(archive)
	if err != nil {
		return fmt.Errorf("the guest's root file system: %w (run `make build`)", err)
	}
	if st, err := os.Stat(stamp); err == nil && st.ModTime().After(source.ModTime()) {
		return nil
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(f))
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	temporary := fmt.Sprintf("%s.%d", folder, os.Getpid())
	defer os.RemoveAll(temporary)
	if err := os.MkdirAll(filepath.Join(temporary, guestFolder), 0o755); err != nil {
		return err
	}
	for _, r := range records {
		if err := unpack(r, temporary); err != nil {
			return fmt.Errorf("%s: %s: %w", archive, r.Name, err)
		}
	}
	// Another run may have been faster, or the old one may be in use: it then keeps its inodes.
	old := temporary + ".old"
	if os.Rename(folder, old) == nil {
		defer os.RemoveAll(old)
	}
	if err := os.Rename(temporary, folder); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

func unpack(r cpio.Record, folder string) error {
	name := strings.TrimPrefix(r.Name, "/")
	if name == "" || name == "." || !filepath.IsLocal(name) {
		return nil
	}
	path := filepath.Join(folder, name)
	mode := os.FileMode(r.Mode & 0o777)
	switch r.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := os.MkdirAll(path, mode); err != nil {
			return err
		}
		if r.Mode&unix.S_ISVTX != 0 {
			mode |= os.ModeSticky
		}
		return os.Chmod(path, mode)
	case unix.S_IFLNK:
		target, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
		if err != nil {
			return err
		}
		return os.Symlink(string(target), path)
	case unix.S_IFREG:
		out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
		return errors.Join(err, out.Close())
	}
	return nil
}
