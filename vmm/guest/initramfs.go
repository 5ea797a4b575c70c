package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// Addition is a file or folder of the host that the guest finds at a path.
type Addition struct{ Host, Guest string }

// UnmarshalText parses HOST:GUEST. The guest path has no colon.
func (a *Addition) UnmarshalText(text []byte) error {
	s := string(text)
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || i == len(s)-1 {
		return fmt.Errorf("%q is not HOST:GUEST", s)
	}
	*a = Addition{Host: s[:i], Guest: s[i+1:]}
	return a.check()
}

func (a *Addition) check() error {
	if !path.IsAbs(a.Guest) || path.Clean(a.Guest) == "/" || strings.ContainsRune(a.Guest, 0) {
		return fmt.Errorf("--add %s:%s: the path in the guest is not absolute, or is its root", a.Host, a.Guest)
	}
	return nil
}

// archive is an initramfs: the file as it is, and a generated newc segment behind it. The
// kernel unpacks both, as Linux does with concatenated archives.
type archive struct {
	base     *os.File // nil: none
	baseSize int64
	records  []cpio.Record
	size     int64 // of the whole
}

// segmentAlign is the alignment of an archive that follows another one (what cpio itself and
// Linux's initramfs format use).
const segmentAlign = 4

// openArchive collects what goes into the initramfs. Only names and sizes are held in
// memory; contents are read when the archive is written.
func openArchive(initrd string, add []Addition) (_ *archive, err error) {
	a := new(archive)
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if initrd != "" {
		if a.base, a.baseSize, err = openRegular(initrd, "initramfs"); err != nil {
			return nil, err
		}
	}
	a.size = a.baseSize
	if len(add) == 0 {
		return a, nil
	}
	c := collector{a: a, seen: directoriesIn(a.base, a.baseSize)}
	for _, ad := range add {
		if err := ad.check(); err != nil {
			return nil, err
		}
		if err := c.collect(ad); err != nil {
			return nil, fmt.Errorf("--add %s:%s: %w", ad.Host, ad.Guest, err)
		}
	}
	a.size = (a.baseSize + segmentAlign - 1) &^ (segmentAlign - 1)
	for _, r := range a.records {
		a.size += recordSize(r)
	}
	a.size += recordSize(cpio.TrailerRecord)
	return a, nil
}

func openRegular(name, what string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", what, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s %s: not a regular file", what, name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// Close closes the base archive.
func (a *archive) Close() {
	if a.base != nil {
		a.base.Close()
	}
}

// directoriesIn lists the folders a newc archive makes, so that --add below one of them does
// not change its mode. An archive that is not plain newc (a compressed one) tells nothing.
func directoriesIn(r io.ReaderAt, size int64) map[string]bool {
	seen := map[string]bool{}
	if size == 0 {
		return seen
	}
	records := cpio.Newc.Reader(io.NewSectionReader(r, 0, size))
	for {
		rec, err := records.ReadRecord()
		if err != nil {
			return seen
		}
		if rec.Mode&cpio.S_IFMT == cpio.S_IFDIR {
			seen[rec.Name] = true
		}
	}
}

// collector turns additions into records.
type collector struct {
	a     *archive
	seen  map[string]bool // guest paths made so far, true for a folder
	inode uint64
}

// collect appends the records of one addition: missing parents as folders (mode 0755), then the
// file or, recursively, the folder, with modes and symbolic links kept and owner root.
func (c *collector) collect(ad Addition) error {
	guest := cpio.Normalize(ad.Guest)
	for i := range guest {
		if guest[i] != '/' {
			continue
		}
		if err := c.append(cpio.Directory(guest[:i], 0o755)); err != nil {
			return err
		}
	}
	// A symbolic link named by the user stands for what it points to; those found below a
	// folder are kept.
	host, err := filepath.EvalSymlinks(ad.Host)
	if err != nil {
		return err
	}
	return filepath.WalkDir(host, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, name)
		if err != nil {
			return err
		}
		// A recorder for each file: hard links become files of their own.
		r, err := cpio.NewRecorder().GetRecord(name)
		if err != nil {
			return err
		}
		if r.Mode&cpio.S_IFMT == cpio.S_IFSOCK {
			return nil // a socket has no meaning in another machine
		}
		r.Name, r.UID, r.GID = path.Join(guest, filepath.ToSlash(rel)), 0, 0
		return c.append(r)
	})
}

func (c *collector) append(r cpio.Record) error {
	folder := r.Mode&cpio.S_IFMT == cpio.S_IFDIR
	if was, ok := c.seen[r.Name]; ok {
		if was && folder {
			return nil
		}
		return fmt.Errorf("/%s is there already", r.Name)
	}
	c.seen[r.Name] = folder
	c.inode++
	r.Ino, r.NLink = c.inode, 1
	c.a.records = append(c.a.records, r)
	return nil
}

// recordSize is the bytes a record takes in newc format.
func recordSize(r cpio.Record) int64 {
	const header = 110
	n := (int64(header+len(r.Name)+1) + 3) &^ 3
	if r.ReaderAt != nil {
		n += (int64(r.FileSize) + 3) &^ 3
	}
	return n
}

// errShort ends the writing of an archive that does not match its announced size.
var errShort = errors.New("a file changed while the initramfs was built")

// Write writes exactly a.size bytes to w.
func (a *archive) write(w io.Writer) error {
	if a.base != nil {
		if n, err := io.Copy(w, io.LimitReader(a.base, a.baseSize)); err != nil {
			return fmt.Errorf("initramfs: %w", err)
		} else if n != a.baseSize {
			return fmt.Errorf("initramfs: %w", errShort)
		}
	}
	if len(a.records) == 0 {
		return nil
	}
	var pad [segmentAlign]byte
	if n := -a.baseSize & (segmentAlign - 1); n > 0 {
		if _, err := w.Write(pad[:n]); err != nil {
			return err
		}
	}
	rw := cpio.Newc.Writer(w)
	for _, r := range a.records {
		if err := rw.WriteRecord(r); err != nil {
			return fmt.Errorf("initramfs: %s: %w", r.Name, err)
		}
	}
	return cpio.WriteTrailer(rw)
}
