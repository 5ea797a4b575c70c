package selftest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"ringo/guestkernel/nucleus"
)

// processors: every CPU runs Go code at the same time as the others. One that never started would
// show in nothing but the time that all else takes.
func processors() (string, error) {
	cpus := int(nucleus.BootInfo().CPUs)
	var seen atomic.Uint64
	all := uint64(1)<<cpus - 1
	deadline := time.Now().Add(30 * time.Second)
	var wg sync.WaitGroup
	for range cpus {
		wg.Go(func() {
			for seen.Load() != all && time.Now().Before(deadline) {
				seen.Or(1 << currentCPU())
			}
		})
	}
	wg.Wait()
	if got := seen.Load(); got != all {
		return "", fmt.Errorf("of %d CPUs only the set %#b runs Go code", cpus, got)
	}
	return fmt.Sprintf("%d run Go code", cpus), nil
}

// goroutines: 10,000 at once, all alive together, each with a grown stack.
func goroutines() (string, error) {
	const n = 10_000
	start, stop := make(chan struct{}), make(chan struct{})
	var alive, sum atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if alive.Add(1) == n {
				close(start)
			}
			<-start
			sum.Add(int64(deep(8, byte(i))))
			<-stop
		})
	}
	<-start
	close(stop)
	wg.Wait()
	want := int64(0)
	for i := range n {
		want += 8 * int64(byte(i))
	}
	if sum.Load() != want {
		return "", fmt.Errorf("sum %d, want %d", sum.Load(), want)
	}
	return fmt.Sprintf("%d", n), nil
}

func deep(n int, v byte) int {
	if n == 0 {
		return 0
	}
	var b [256]byte
	for i := range b {
		b[i] = v
	}
	return deep(n-1, v) + int(b[n])
}

// timers: sleeps end not before their time, and in order.
func timers() (string, error) {
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	var worst time.Duration
	for i := range 50 {
		wg.Go(func() {
			want := time.Duration(i+1) * 2 * time.Millisecond
			start := time.Now()
			time.Sleep(want)
			got := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if got < want {
				order = append(order, -1)
			}
			order = append(order, i)
			worst = max(worst, got-want)
		})
	}
	wg.Wait()
	for _, v := range order {
		if v < 0 {
			return "", errors.New("a sleep ended early")
		}
	}
	t := time.NewTimer(time.Hour)
	if !t.Stop() {
		return "", errors.New("a stopped timer had fired")
	}
	select {
	case <-time.After(5 * time.Millisecond):
	case <-t.C:
		return "", errors.New("a stopped timer fired")
	}
	if now := time.Now(); now.Year() < 2024 {
		return "", fmt.Errorf("wall clock says %v", now)
	}
	return fmt.Sprintf("50 sleeps, latest by %v", worst.Round(10*time.Microsecond)), nil
}

// maps under concurrent use, checked afterwards.
func maps() (string, error) {
	var mu sync.RWMutex
	m := make(map[int]string)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				k := i*4 + w
				mu.Lock()
				m[k] = fmt.Sprint(k)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for k := range 20000 {
		if m[k] != fmt.Sprint(k) {
			return "", fmt.Errorf("key %d holds %q", k, m[k])
		}
	}
	return "20000 keys by 4 writers", nil
}

type node struct {
	left, right *node
	sum         [16]byte
}

// digest is a hash without package crypto, whose random generator would add 32 MiB of .bss.
func digest(b []byte) (sum [16]byte) {
	h := fnv.New128a()
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{sum: digest(nil)}
	}
	n := &node{left: tree(depth - 1), right: tree(depth - 1)}
	n.sum = digest(append(n.left.sum[:], n.right.sum[:]...))
	return n
}

func (n *node) check() bool {
	if n.left == nil {
		return n.sum == digest(nil)
	}
	return n.left.check() && n.right.check() && n.sum == digest(append(n.left.sum[:], n.right.sum[:]...))
}

// collection: trees survive garbage collection, garbage does not.
func collection() (string, error) {
	keep := tree(10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		if !tree(9).check() {
			return "", errors.New("a new tree is damaged")
		}
		runtime.GC()
	}
	if !keep.check() {
		return "", errors.New("the kept tree is damaged")
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		return "", fmt.Errorf("heap grew by %d bytes", grown)
	}
	return fmt.Sprintf("%d cycles", after.NumGC-before.NumGC), nil
}

// panics: CPU exceptions in kernel Go code become Go panics.
func panics() (string, error) {
	recovered := func(f func()) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%v", r)
			}
		}()
		f()
		return nil
	}
	var null *node
	zero := runtime.GOMAXPROCS(0) / (1 << 30) // 0, which the compiler does not know
	for range 100 {
		if err := recovered(func() { null.sum[0] = 1 }); err == nil {
			return "", errors.New("a nil store did not panic")
		}
		if err := recovered(func() { zero = 1 / zero }); err == nil {
			return "", errors.New("a division by zero did not panic")
		}
	}
	return "nil store and division by zero, 100 times", nil
}

// preemption: a loop without calls does not stop the world's stop, on every P at once.
func preemption() (string, error) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	procs := runtime.GOMAXPROCS(0)
	for range procs {
		wg.Go(func() {
			x := uint64(1)
			for !stop.Load() {
				for range 50_000_000 { // no call, no safe point: only a signal gets in
					x = x*3 + 1
				}
				if x == 0 {
					return
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	const stops = 20
	start := time.Now()
	for range stops {
		time.Sleep(time.Millisecond) // gives the P away: a loop has to be preempted to come back
		var m runtime.MemStats
		runtime.ReadMemStats(&m) // stops the world
	}
	took := time.Since(start)
	stop.Store(true)
	wg.Wait()
	return fmt.Sprintf("%d stops of the world in %v beside %d loops", stops, took.Round(time.Millisecond), procs), nil
}

// frames: blocks do not overlap and all come back.
func frames() (string, error) {
	before := nucleus.FrameStats()
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for w := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			type block struct {
				phys  uint64
				order uint
			}
			var have []block
			for i := range 3000 {
				if len(have) < 50 && rng.IntN(2) == 0 {
					order := uint(rng.IntN(4))
					phys, err := nucleus.AllocFrames(order, nucleus.OwnerDevice)
					if err != nil {
						errs <- err
						return
					}
					b := nucleus.Bytes(phys, 4096<<order)
					for _, v := range b {
						if v != 0 {
							errs <- fmt.Errorf("frame %#x is not zeroed", phys)
							return
						}
					}
					for j := 0; j < len(b); j += 512 {
						b[j] = byte(w + 1)
					}
					have = append(have, block{phys, order})
					continue
				}
				if len(have) == 0 {
					continue
				}
				n := rng.IntN(len(have))
				b := have[n]
				for j, c := range nucleus.Bytes(b.phys, 4096<<b.order) {
					if j%512 == 0 && c != byte(w+1) {
						errs <- fmt.Errorf("frame %#x was given to two owners, turn %d", b.phys, i)
						return
					}
				}
				nucleus.FreeFrames(b.phys, b.order)
				have[n] = have[len(have)-1]
				have = have[:len(have)-1]
			}
			for _, b := range have {
				nucleus.FreeFrames(b.phys, b.order)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return "", err
	default:
	}
	after := nucleus.FrameStats()
	if after.Owned[nucleus.OwnerDevice] != before.Owned[nucleus.OwnerDevice] {
		return "", fmt.Errorf("%d device frames, %d before", after.Owned[nucleus.OwnerDevice], before.Owned[nucleus.OwnerDevice])
	}
	if _, err := nucleus.AllocFrames(nucleus.MaxOrder+1, nucleus.OwnerDevice); err == nil {
		return "", errors.New("a block beyond the largest order was allocated")
	}
	return "12000 operations by 4 goroutines", nil
}

func references() (string, error) {
	phys, err := nucleus.AllocFrames(0, nucleus.OwnerUser)
	if err != nil {
		return "", err
	}
	nucleus.Ref(phys)
	nucleus.Ref(phys)
	if n := nucleus.RefCount(phys); n != 3 {
		return "", fmt.Errorf("%d references, want 3", n)
	}
	if nucleus.Unref(phys) != 2 || nucleus.Unref(phys) != 1 || nucleus.Unref(phys) != 0 {
		return "", errors.New("wrong counts on the way down")
	}
	nucleus.FreeFrames(phys, 0)
	if o := nucleus.FrameOwner(phys); o != nucleus.OwnerFree {
		return "", fmt.Errorf("freed frame belongs to %v", o)
	}
	return "counted up and down", nil
}

// idle: a kernel with nothing to do takes no interrupts.
func idle() (string, error) {
	debug.FreeOSMemory() // leaves the scavenger nothing to do
	time.Sleep(200 * time.Millisecond)
	before, start := nucleus.FrameStats(), time.Now()
	time.Sleep(time.Second)
	after, took := nucleus.FrameStats(), time.Since(start)
	traps := float64(after.Traps-before.Traps) / took.Seconds()
	halted := float64(after.IdleTime-before.IdleTime) / float64(took.Nanoseconds()) / float64(nucleus.BootInfo().CPUs)
	const most = 400
	if traps > most {
		return "", fmt.Errorf("%.0f traps in an idle second, at most %d wanted", traps, most)
	}
	return fmt.Sprintf("%.0f traps a second, CPUs halted %.1f %% of the time", traps, 100*halted), nil
}

// underLoad keeps every P busy with allocation, hashing, channels, timers and user code.
func underLoad(d time.Duration) (string, error) {
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	var turns atomic.Int64
	procs := runtime.GOMAXPROCS(0)
	fail := func(err error) {
		select {
		case errs <- err:
		default:
		}
	}
	for w := range 2 * procs {
		wg.Go(func() { // trees and hashes
			for time.Now().Before(end) {
				if !tree(7).check() {
					fail(errors.New("a tree is damaged"))
					return
				}
				turns.Add(1)
			}
		})
		wg.Go(func() { // floating point in vector registers
			for time.Now().Before(end) {
				if got, want := series(10000), series(10000); got != want {
					fail(fmt.Errorf("two sums of one series differ: %v and %v", got, want))
					return
				}
				turns.Add(1)
			}
		})
		wg.Go(func() { // channels and timers
			c := make(chan int)
			done := make(chan int)
			go func() {
				sum := 0
				for v := range c {
					sum += v
				}
				done <- sum
			}()
			want := 0
			for i := 0; time.Now().Before(end); i++ {
				c <- i
				want += i
				if i%100 == 0 {
					time.Sleep(100 * time.Microsecond)
				}
			}
			close(c)
			if got := <-done; got != want {
				fail(fmt.Errorf("channel lost values: %d, want %d", got, want))
			}
		})
		wg.Go(func() { // user code in every mode
			for i := 0; time.Now().Before(end); i++ {
				iterations := [3]uint64{2000, 100, 20}[i%3]
				if err := runCheck(uint64(w*1000+i), uint64(i%3), iterations); err != nil {
					fail(err)
					return
				}
				turns.Add(1)
			}
		})
	}
	wg.Go(func() {
		for time.Now().Before(end) {
			runtime.GC()
			time.Sleep(10 * time.Millisecond)
		}
	})
	wg.Wait()
	select {
	case err := <-errs:
		return "", err
	default:
	}
	return fmt.Sprintf("%d turns in %v on %d Ps", turns.Load(), d, procs), nil
}

func series(n int) (sum [4]float64) {
	x := [4]float64{1, 2, 3, 4}
	for i := range n {
		for j := range x {
			x[j] = x[j]*1.0000001 + 1/float64(i+j+1)
			sum[j] += x[j]
		}
	}
	return sum
}
