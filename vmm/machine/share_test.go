package machine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// sharedFile is a file of three pages, filled with a, b and c.
func sharedFile(t *testing.T) (*os.File, []byte) {
	t.Helper()
	content := bytes.Join([][]byte{bytes.Repeat([]byte("a"), pageSize), bytes.Repeat([]byte("b"), pageSize), bytes.Repeat([]byte("c"), pageSize)}, nil)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, content
}

func contents(t *testing.T, m *Memory, gpa uint64, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if err := m.ReadAt(gpa, b, tester); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSharedRAMShowsTheFileUntilWritten(t *testing.T) {
	self, err := os.Open("/proc/self/mem") // nothing in this process may index KVM's view
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	for _, c := range []struct {
		name  string
		write func(m *Memory) error
	}{
		{"WriteAt", func(m *Memory) error { return m.WriteAt(0x2ffe, []byte{1}, tester) }},
		{"WriteUint16", func(m *Memory) error { return m.WriteUint16(0x2ffe, 1, tester) }},
		{"Slice", func(m *Memory) error {
			b, err := m.Slice(0x2ffe, 1, true, tester)
			if err == nil {
				b[0] = 1
			}
			return err
		}},
		{"Zero", func(m *Memory) error { return m.Zero(0x2ffe, 1, tester) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := twoSlots(t)
			f, file := sharedFile(t)
			if err := m.Share(0x1000, 0x2000, f, pageSize); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, m, 0x1000, 0x2000); !bytes.Equal(got, file[pageSize:]) {
				t.Error("RAM does not show the file")
			}
			if err := m.WriteAt(0, []byte{1}, tester); err != nil || !m.sharing.on.Load() {
				t.Errorf("a write elsewhere ended the sharing, or failed: %v", err)
			}
			if err := c.write(m); err != nil {
				t.Fatal(err)
			}
			want := bytes.Clone(file[pageSize:])
			want[0x1ffe] = contents(t, m, 0x2ffe, 1)[0]
			if want[0x1ffe] == 'c' {
				t.Error("the write left no trace")
			}
			if got := contents(t, m, 0x1000, 0x2000); m.sharing.on.Load() || !bytes.Equal(got[:0x1ffe], want[:0x1ffe]) {
				t.Error("RAM changed beside what was written, or is still shared")
			}
			if now, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(now, file) {
				t.Errorf("the file changed (%v)", err)
			}
			// Both views are the memfd again.
			kvm := make([]byte, 0x4000)
			if n, err := self.ReadAt(kvm, int64(m.slots[0].kvm.hva())); err != nil || n < len(kvm) {
				t.Fatal(n, err)
			}
			if kvm[0x2ffe] != want[0x1ffe] || kvm[0x1000] != 'b' {
				t.Error("KVM's view differs from the monitor's")
			}
		})
	}
}

func TestShareRefuses(t *testing.T) {
	m := twoSlots(t)
	f, _ := sharedFile(t)
	for _, c := range []struct {
		gpa, size uint64
		offset    int64
	}{{0x800, 0x1000, 0}, {0x1000, 0x800, 0}, {0x1000, 0x1000, 1}, {0x4000, 0x1000, 0}, {0x3000, 0x2000, 0}} {
		if err := m.Share(c.gpa, c.size, f, c.offset); err == nil {
			t.Errorf("%#x, %#x bytes, offset %#x was accepted", c.gpa, c.size, c.offset)
		}
	}
	if m.sharing.on.Load() {
		t.Error("a refused range counts as shared")
	}
}
