package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestUninterruptedRepeatsOnlyEINTR(t *testing.T) {
	answers := []error{unix.EINTR, unix.EINTR, nil}
	calls := 0
	n, err := uninterrupted(func() (int, error) { calls++; return calls, answers[calls-1] })
	if n != 3 || err != nil {
		t.Errorf("after two interruptions: %d, %v; want 3, nil", n, err)
	}
	calls = 0
	_, err = uninterrupted(func() (int, error) { calls++; return -1, unix.EBUSY })
	if calls != 1 || err != unix.EBUSY {
		t.Errorf("EBUSY after %d calls: %v; want 1 call", calls, err)
	}
}
