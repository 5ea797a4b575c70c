package wait

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sleeper is a Sleeper for host tests.
type sleeper struct{ interrupt chan struct{} }

func (s sleeper) Sleep(c <-chan struct{}, deadline time.Time) Result {
	select {
	case <-c:
		return Woken
	default:
	}
	var timeout <-chan time.Time
	if !deadline.IsZero() {
		timeout = time.After(time.Until(deadline))
	}
	select {
	case <-c:
		return Woken
	case <-s.interrupt:
		return Interrupted
	case <-timeout:
		return TimedOut
	}
}

func TestNotifyReachesOnlyMatchingEntries(t *testing.T) {
	var q Queue
	var got [3]Mask
	masks := [3]Mask{In, Out, In | Out}
	var entries [3]Entry
	for i := range entries {
		entries[i].Notify = func(m Mask) { got[i] |= m }
		q.Register(&entries[i], masks[i])
	}
	q.Notify(In)
	if got != [3]Mask{In, 0, In} {
		t.Fatalf("after Notify(In): %v", got)
	}
	q.Unregister(&entries[1])
	q.Unregister(&entries[1])
	q.Notify(Out)
	if got != [3]Mask{In, 0, In | Out} {
		t.Fatalf("after Notify(Out): %v", got)
	}
	q.Unregister(&entries[0])
	q.Unregister(&entries[2])
	if !q.Empty() {
		t.Fatal("queue not empty after all entries left")
	}
}

// TestBlockLosesNoWakeUp has producers and consumers race over a counter; a lost wake-up leaves a consumer asleep.
func TestBlockLosesNoWakeUp(t *testing.T) {
	const consumers, each = 4, 5000
	var q Queue
	var tokens atomic.Int64
	var wg sync.WaitGroup
	for range consumers {
		wg.Go(func() {
			for range each {
				err := Block(sleeper{}, &q, Readable, time.Time{}, func() error {
					for {
						n := tokens.Load()
						if n == 0 {
							return ErrWouldBlock
						}
						if tokens.CompareAndSwap(n, n-1) {
							return nil
						}
					}
				})
				if err != nil {
					t.Errorf("Block: %v", err)
				}
			}
		})
	}
	for range consumers * each {
		tokens.Add(1)
		q.Notify(In)
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("consumers still asleep with %d tokens left", tokens.Load())
	}
}

func TestBlockEnds(t *testing.T) {
	var q Queue
	never := func() error { return ErrWouldBlock }
	if err := Block(sleeper{}, &q, In, time.Now().Add(time.Millisecond), never); err != ErrTimedOut {
		t.Errorf("deadline: got %v, want ErrTimedOut", err)
	}
	s := sleeper{interrupt: make(chan struct{}, 1)}
	s.interrupt <- struct{}{}
	if err := Block(s, &q, In, time.Time{}, never); err != ErrRestart {
		t.Errorf("interrupt: got %v, want ErrRestart", err)
	}
	if !q.Empty() {
		t.Error("Block left its entry on the queue")
	}
}
