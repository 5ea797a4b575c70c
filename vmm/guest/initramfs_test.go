package guest

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

// writeTree makes files (content), folders (content "/") and links (content "-> target").
func writeTree(t *testing.T, dir string, tree map[string]string) {
	t.Helper()
	for name, content := range tree {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch target, link := strings.CutPrefix(content, "-> "); {
		case err != nil:
		case link:
			err = os.Symlink(target, path)
		case content == "/":
			err = os.MkdirAll(path, 0o750)
		default:
			err = os.WriteFile(path, []byte(content), 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// unpack reads a whole archive, whose announced size it checks.
func unpack(t *testing.T, a *archive) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := a.write(&b); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != a.size {
		t.Fatalf("%d bytes written, %d announced", b.Len(), a.size)
	}
	return b.Bytes()
}

func records(t *testing.T, archive []byte) map[string]cpio.Record {
	t.Helper()
	all, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(archive)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]cpio.Record{}
	for _, r := range all {
		if _, twice := out[r.Name]; twice {
			t.Errorf("%s is in the archive twice", r.Name)
		}
		out[r.Name] = r
	}
	return out
}

func content(t *testing.T, r cpio.Record) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAddedFilesAndFolders(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{
		"hello": "hello world", "tree/a/b": "deep", "tree/empty": "", "tree/folder": "/", "tree/link": "-> a/b", "alias": "-> hello",
	})
	if err := syscall.Chmod(filepath.Join(dir, "hello"), 0o4755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "tree/a/b"), filepath.Join(dir, "tree/hard")); err != nil {
		t.Fatal(err)
	}
	// A socket has no place in another machine.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Join(dir, "tree/socket")}); err != nil {
		t.Fatal(err)
	}
	a, err := openArchive("", []Addition{
		{dir + "/hello", "/bin/x/hello"}, {dir + "/tree", "/opt/tree/"}, {dir + "/alias", "/through-a-link"}, {dir + "/hello", "/bin/x/again"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	got := records(t, unpack(t, a))
	for name, want := range map[string]struct {
		mode    uint64
		content string
	}{
		"bin": {0o40755, ""}, "bin/x": {0o40755, ""}, "bin/x/hello": {0o104755, "hello world"}, "bin/x/again": {0o104755, "hello world"},
		"opt": {0o40755, ""}, "opt/tree": {0o40755, ""}, "opt/tree/a": {0o40755, ""}, "opt/tree/a/b": {0o100640, "deep"},
		"opt/tree/empty": {0o100640, ""}, "opt/tree/folder": {0o40750, ""}, "opt/tree/link": {0o120777, "a/b"},
		"opt/tree/hard": {0o100640, "deep"}, "through-a-link": {0o104755, "hello world"},
	} {
		r, ok := got[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		delete(got, name)
		if r.Mode != want.mode || content(t, r) != want.content {
			t.Errorf("%s: mode %o, %q; want %o, %q", name, r.Mode, content(t, r), want.mode, want.content)
		}
		if r.UID != 0 || r.GID != 0 {
			t.Errorf("%s belongs to %d:%d", name, r.UID, r.GID)
		}
	}
	for name := range got {
		t.Errorf("%s was not asked for", name)
	}
}

// The generated segment follows the base on a boundary of 4 and leaves it as it is; a folder of
// the base keeps its mode.
func TestAdditionsFollowTheBase(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"f": "new"})
	for _, extra := range []int{0, 1, 2, 3} {
		var base bytes.Buffer
		w := cpio.Newc.Writer(&base)
		for _, r := range []cpio.Record{cpio.Directory("tmp", 0o1777), cpio.StaticFile("old", "old", 0o600)} {
			if err := w.WriteRecord(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := cpio.WriteTrailer(w); err != nil {
			t.Fatal(err)
		}
		base.Write(make([]byte, extra))
		path := filepath.Join(dir, "base.cpio")
		if err := os.WriteFile(path, base.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := openArchive(path, []Addition{{dir + "/f", "/tmp/f"}})
		if err != nil {
			t.Fatal(err)
		}
		whole := unpack(t, a)
		a.Close()
		if !bytes.HasPrefix(whole, base.Bytes()) {
			t.Fatal("the base was changed")
		}
		second := (base.Len() + 3) &^ 3
		got := records(t, whole[second:])
		if len(got) != 1 || content(t, got["tmp/f"]) != "new" {
			t.Errorf("%d bytes behind the trailer: the second segment holds %v", extra, got)
		}
		// Without additions the file goes through byte for byte.
		a, err = openArchive(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(unpack(t, a), base.Bytes()) {
			t.Error("an archive without additions differs from its file")
		}
		a.Close()
	}
}

func TestAdditionsThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"f": "x", "d/g": "y"})
	for _, c := range []struct {
		name, want string
		add        []Addition
	}{
		{"missing", "no such file", []Addition{{dir + "/none", "/x"}}},
		{"twice", "is there already", []Addition{{dir + "/f", "/x"}, {dir + "/f", "/x"}}},
		{"file over folder", "is there already", []Addition{{dir + "/f", "/x/y"}, {dir + "/f", "/x"}}},
		{"below a file", "is there already", []Addition{{dir + "/f", "/x"}, {dir + "/f", "/x/y"}}},
		{"root", "root", []Addition{{dir + "/d", "/"}}},
		{"relative", "not absolute", []Addition{{dir + "/d", "x"}}},
	} {
		a, err := openArchive("", c.add)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: err = %v, want %q", c.name, err, c.want)
		}
		if a != nil {
			a.Close()
		}
	}
}

// A file that shrinks or grows between the two looks at it ends in an error, not in an
// archive that lies.
func TestFileThatChanges(t *testing.T) {
	for _, now := range []string{"", "shorter", "much longer than before"} {
		dir := t.TempDir()
		writeTree(t, dir, map[string]string{"f": "original size"})
		a, err := openArchive("", []Addition{{dir + "/f", "/f"}})
		if err != nil {
			t.Fatal(err)
		}
		writeTree(t, dir, map[string]string{"f": now})
		var b bytes.Buffer
		err = a.write(&b)
		a.Close()
		if len(now) < len("original size") && err == nil {
			t.Errorf("a file that shrank to %d bytes went unnoticed", len(now))
		}
		if int64(b.Len()) > a.size {
			t.Errorf("wrote %d bytes, announced %d", b.Len(), a.size)
		}
	}
}

func TestAdditionText(t *testing.T) {
	for in, want := range map[string]Addition{
		"a:/b": {"a", "/b"}, "/x/y:/z": {"/x/y", "/z"}, "a:b:/c": {"a:b", "/c"}, "": {}, ":": {}, "a:": {}, ":/b": {}, "a:b": {},
	} {
		var a Addition
		err := a.UnmarshalText([]byte(in))
		if ok := want != (Addition{}); ok != (err == nil) || ok && a != want {
			t.Errorf("%q = %+v, %v", in, a, err)
		}
	}
}
