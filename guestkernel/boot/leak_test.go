//go:build amd64

package boot

import (
	"runtime"
	"testing"
	"time"
)

// TestNothingIsLeftBehind runs the same mix of forks, pipes, signals and files several times: frames, page
// tables, tasks and goroutines must come back to what they were after the first time (which fills the page cache).
func TestNothingIsLeftBehind(t *testing.T) {
	g := busyboxGuest(t)
	const script = `cd /tmp; for i in 1 2 3; do echo $i | cat > f$i; done; cat f1 f2 f3 | sort -r; rm f1 f2 f3
sleep 0.01 & kill $!; wait; (exit 3) | true; sh -c 'kill -SEGV $$'; x=$(yes | head -5); sleep 30 & exit 0`
	settle := func() (frames, tables, goroutines int) {
		select {
		case <-g.k.KillAll():
		case <-time.After(10 * time.Second):
			t.Fatalf("%d tasks do not die", g.k.Live())
		}
		for range 100 {
			if g.k.Live() == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond) // tracer threads of the host CPU end by themselves
		g.m.tables.Range(func(any, any) bool { tables++; return true })
		return g.m.inUse(), tables, runtime.NumGoroutine()
	}
	g.run("", "/bin/sh", "-c", script)
	frames, tables, goroutines := settle()
	for i := range 3 {
		if out, _, e := g.run("", "/bin/sh", "-c", script); out != "3\n2\n1\n" || e.Code != 0 {
			t.Fatalf("round %d: out %q, %+v", i, out, e)
		}
		f, tb, gr := settle()
		if f != frames || tb != tables || gr > goroutines+2 {
			t.Errorf("round %d: %d frames, %d tables, %d goroutines; first time %d, %d, %d", i, f, tb, gr, frames, tables, goroutines)
		}
	}
	if pids := g.k.PIDs(); len(pids) != 1 {
		t.Errorf("processes left: %v", pids)
	}
}
