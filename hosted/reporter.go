package hosted

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"time"
)

// reporter writes progress lines. Its methods may be called from any goroutine.
type reporter struct {
	mu sync.Mutex
	w  io.Writer
}

func newReporter(w io.Writer) *reporter {
	if w == nil {
		w = io.Discard
	}
	return &reporter{w: w}
}

func (r *reporter) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.w, "hosted: "+format+"\n", args...)
}

// step reports that a step begins and then, every few seconds, how much is in its download folder, until the returned function is called.
func (r *reporter) step(what, begin, downloads string) func() {
	r.say("%s: %s and downloading", what, begin)
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(3 * time.Second)
		defer tick.Stop()
		last := int64(-1)
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if n := folderSize(downloads); n != last {
					r.say("%s: %.0f MB downloaded", what, float64(n)/1e6)
					last = n
				}
			}
		}
	})
	return func() { close(stop); done.Wait() }
}

func folderSize(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil // a file that is renamed meanwhile is counted the next time
	})
	return total
}
