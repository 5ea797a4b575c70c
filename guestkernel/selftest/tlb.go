package selftest

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shootdown: a page of the kernel heap that one CPU throws away is gone for the other CPUs at
// once, although they have its translation in their TLBs.
func shootdown() (string, error) {
	if runtime.GOMAXPROCS(0) < 2 {
		return "one CPU only", nil
	}
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return "", fmt.Errorf("map a page: %w", err)
	}
	defer unix.Munmap(page)
	word := (*uint64)(unsafe.Pointer(&page[0]))
	const most = 2000
	const last = int64(1) << 62
	var written, seen, dropped, stale atomic.Int64
	done := make(chan struct{})
	go func() { // the reader: its TLB holds the page while the writer drops it
		defer close(done)
		for turn := int64(1); ; turn++ {
			spin(func() bool { return written.Load() >= turn })
			if written.Load() == last {
				return
			}
			if atomic.LoadUint64(word) != uint64(turn) {
				stale.Add(1)
			}
			seen.Store(turn)
			spin(func() bool { return dropped.Load() == turn })
			if atomic.LoadUint64(word) != 0 {
				stale.Add(1)
			}
			seen.Store(-turn)
		}
	}()
	start := time.Now()
	turns := int64(0)
	for turns < most && time.Since(start) < 2*time.Second {
		turns++
		turn := turns
		atomic.StoreUint64(word, uint64(turn))
		written.Store(turn)
		spin(func() bool { return seen.Load() == turn })
		if err := unix.Madvise(page, unix.MADV_DONTNEED); err != nil {
			dropped.Store(turn)
			written.Store(last)
			return "", fmt.Errorf("madvise: %w", err)
		}
		dropped.Store(turn)
		spin(func() bool { return seen.Load() == -turn })
	}
	written.Store(last)
	<-done
	if n := stale.Load(); n != 0 {
		return "", fmt.Errorf("%d of %d reads went through a stale translation", n, 2*turns)
	}
	return fmt.Sprintf("%d pages dropped under a reader, %v each", turns, (time.Since(start) / time.Duration(turns)).Round(time.Microsecond)), nil
}

// spin waits without giving the CPU away at first, so that both goroutines stay on their CPUs.
func spin(ready func() bool) {
	for n := 0; !ready(); n++ {
		if n > 100_000 {
			runtime.Gosched()
		}
	}
}
