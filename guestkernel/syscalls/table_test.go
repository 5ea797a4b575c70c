package syscalls

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/task"
)

// TestCallNumbers: only the low 32 bits of the register choose the call, and nothing behind the table is touched.
func TestCallNumbers(t *testing.T) {
	tb := NewTable(map[string]int{"no such call": 3, "served": 5})
	tb.calls[5] = func(_ *task.Task, a Args) (uint64, error) { return a[0] + 1, nil }
	for _, c := range []struct {
		nr   uint64
		want uint64
		err  error
	}{
		{5, 8, nil}, {5 | 7<<32, 8, nil}, {3, 0, unix.ENOSYS}, {4, 0, unix.ENOSYS}, {6, 0, unix.ENOSYS},
		{1 << 31, 0, unix.ENOSYS}, {^uint64(0), 0, unix.ENOSYS}, {0xffffffff_00000000, 0, unix.ENOSYS},
	} {
		if got, err := tb.Call(nil, c.nr, [6]uint64{7}); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("call %#x: %d, %v; want %d, %v", c.nr, got, err, c.want, c.err)
		}
	}
	missing := map[string]uint64{}
	for _, m := range tb.Missing() {
		missing[m.Name] = m.Count
	}
	if missing["no such call"] != 1 || missing["numbers behind the table"] != 3 {
		t.Errorf("counted as missing: %v", missing)
	}
}
