package initramfs

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

func tarball(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	b := new(bytes.Buffer)
	w := tar.NewWriter(b)
	for _, h := range headers {
		content := "content of " + h.Name
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, content)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDebianMergesPackages(t *testing.T) {
	d := NewDebian()
	err := d.Package(tarball(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		tar.Header{Name: "./usr/bin/dash", Typeflag: tar.TypeReg, Mode: 0o755},
		tar.Header{Name: "./lib/libx.so", Typeflag: tar.TypeReg, Mode: 0o644},
		tar.Header{Name: "./usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755},
		tar.Header{Name: "./usr/bin/same", Typeflag: tar.TypeLink, Linkname: "./usr/bin/su"},
		tar.Header{Name: "./usr/share/doc/x/README", Typeflag: tar.TypeReg, Mode: 0o644},
		tar.Header{Name: "./usr/share/base-passwd/passwd.master", Typeflag: tar.TypeReg, Mode: 0o644},
	))
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := d.Write(&first); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(&second); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("written again: %v, or other bytes", err)
	}
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(first.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	order := map[string]int{}
	for i, r := range records {
		b, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
		if err != nil {
			t.Fatal(err)
		}
		got[r.Name] = string(b)
		order[r.Name] = i
		if r.Name == "usr/bin/su" && r.Mode != 0o104755 {
			t.Errorf("mode of su %o, want 104755", r.Mode)
		}
	}
	for name, want := range map[string]string{
		"bin": "usr/bin", "usr/bin/dash": "content of ./usr/bin/dash", "usr/lib/libx.so": "content of ./lib/libx.so", "usr/bin/sh": "dash",
		"usr/bin/same": "/usr/bin/su", "etc/passwd": "content of ./usr/share/base-passwd/passwd.master", "tmp": "",
	} {
		if have, ok := got[name]; !ok || have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	if _, ok := got["usr/share/doc/x/README"]; ok {
		t.Error("documentation was kept")
	}
	if order["usr"] > order["usr/bin"] || order["usr/bin"] > order["usr/bin/dash"] {
		t.Error("a folder comes after what lies in it")
	}
}

func TestDebianRefusesWhatPackagesDoNotHave(t *testing.T) {
	for name, c := range map[string]struct {
		header tar.Header
		want   string
	}{
		"a device":     {tar.Header{Name: "./dev/sda", Typeflag: tar.TypeBlock}, "neither folder, file nor link"},
		"below a file": {tar.Header{Name: "./usr/bin/dash/x", Typeflag: tar.TypeReg}, "no folder"},
	} {
		d := NewDebian()
		if err := d.Package(tarball(t, tar.Header{Name: "./usr/bin/dash", Typeflag: tar.TypeReg, Mode: 0o755})); err != nil {
			t.Fatal(err)
		}
		if err := d.Package(tarball(t, c.header)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	d := NewDebian()
	if err := d.Package(tarball(t, tar.Header{Name: "../../etc/shadow", Typeflag: tar.TypeReg})); err != nil || d.entries["etc/shadow"].mode == 0 {
		t.Errorf("a name that leads out of the root: %v", err)
	}
}
