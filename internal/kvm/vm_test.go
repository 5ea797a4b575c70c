package kvm

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUninterruptedRepeatsOnlyAfterASignal(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails []error
		want  error
		calls int
	}{
		{"at once", nil, nil, 1},
		{"two signals", []error{unix.EINTR, unix.EINTR}, nil, 3},
		{"a signal, then an error", []error{unix.EINTR, unix.ENOMEM}, unix.ENOMEM, 2},
		{"an error", []error{unix.EBUSY}, unix.EBUSY, 1},
	} {
		calls := 0
		v, err := Uninterrupted(func() (int, error) {
			calls++
			if calls <= len(c.fails) {
				return -1, c.fails[calls-1]
			}
			return 7, nil
		})
		if !errors.Is(err, c.want) || calls != c.calls || err == nil && v != 7 {
			t.Errorf("%s: %d, %v after %d calls, want error %v after %d", c.name, v, err, calls, c.want, c.calls)
		}
	}
}
