package initramfs

import (
	"bytes"
	"io"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
)

func TestWriteHoldsBusyboxAppletsAndFolders(t *testing.T) {
	var out bytes.Buffer
	if err := Write(&out, []byte("ELF..."), "sh\nls\nbusybox\nls\n"); err != nil {
		t.Fatal(err)
	}
	got := map[string]cpio.Record{}
	for reader := cpio.Newc.Reader(bytes.NewReader(out.Bytes())); ; {
		r, err := reader.ReadRecord()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[r.Name]; twice {
			t.Errorf("%s is in the archive twice", r.Name)
		}
		got[r.Name] = r
	}
	content := func(name string) string {
		r, ok := got[name]
		if !ok {
			t.Fatalf("%s is missing", name)
		}
		b, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if s := content("bin/busybox"); s != "ELF..." {
		t.Errorf("bin/busybox = %q", s)
	}
	for _, link := range []string{"bin/sh", "bin/ls"} {
		if s := content(link); s != "busybox" || got[link].Mode&0o170000 != 0o120000 {
			t.Errorf("%s = %q mode %o, want a symbolic link to busybox", link, s, got[link].Mode)
		}
	}
	if m := got["tmp"].Mode; m != 0o041777 {
		t.Errorf("mode of tmp = %o, want 041777", m)
	}
	var again bytes.Buffer
	if err := Write(&again, []byte("ELF..."), "ls busybox sh"); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("the same input gave other bytes (err %v)", err)
	}
}

func TestWriteRefusesAListWithoutShell(t *testing.T) {
	if err := Write(io.Discard, nil, "usage: busybox"); err == nil {
		t.Error("a list without sh was accepted")
	}
}
