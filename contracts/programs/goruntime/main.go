/*
 * programs/goruntime: a static Go program: goroutines, garbage collection, timers, signals, child processes, pipes through the poller.
 *
 * Catches: preemption signals that are lost or hit the wrong thread, memory handed back and not zero, epoll edges that go missing, SIGCHLD races.
 *
 * Timeout: 2m
 */
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func observe(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func require(ok bool, what string) {
	if !ok {
		fmt.Println("CONTRACT_FAIL:", what)
		os.Exit(1)
	}
}

// contract_end() is what C contracts end with; this prints the same.
func end() { fmt.Println("CONTRACT_PASS") }

func main() {
	if len(os.Args) > 1 {
		child(os.Args[1])
		return
	}
	runtime.GOMAXPROCS(4)
	goroutines()
	collection()
	preemption()
	timers()
	signals()
	processes()
	pipes()
	faults()
	files()
	end()
}

func child(what string) {
	switch what {
	case "exit":
		os.Exit(3)
	case "echo":
		io.Copy(os.Stdout, os.Stdin)
	case "sleep":
		fmt.Println("sleeping")
		time.Sleep(time.Minute)
	}
}

func goroutines() {
	const n = 1000
	in, out := make(chan int), make(chan int)
	var workers sync.WaitGroup
	for range 20 {
		workers.Go(func() {
			for x := range in {
				out <- x * x
			}
		})
	}
	go func() {
		for i := range n {
			in <- i
		}
		close(in)
		workers.Wait()
		close(out)
	}()
	sum := 0
	for x := range out {
		sum += x
	}
	observe("goroutines: %d", sum)
	first := make(chan int, 1)
	next := first
	for range 500 {
		from, to := next, make(chan int, 1)
		go func() { to <- 1 + <-from }()
		next = to
	}
	first <- 0
	observe("chain: %d", <-next)
	var mu sync.RWMutex
	shared := map[int]int{}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for k := range 100 {
				mu.Lock()
				shared[k] += i
				mu.Unlock()
				mu.RLock()
				_ = shared[k]
				mu.RUnlock()
			}
		})
	}
	all.Wait()
	observe("map: %d %d", len(shared), shared[7])
}

type tree struct {
	left, right *tree
	payload     [64]byte
}

func build(depth int) *tree {
	if depth == 0 {
		return nil
	}
	t := &tree{left: build(depth - 1), right: build(depth - 1)}
	for _, b := range t.payload {
		if b != 0 {
			require(false, "new memory is zero")
		}
	}
	t.payload[3] = byte(depth)
	return t
}

func (t *tree) count() int {
	if t == nil {
		return 0
	}
	return 1 + t.left.count() + t.right.count()
}

func collection() {
	debug.SetGCPercent(20)
	keep := build(12)
	var all sync.WaitGroup
	var made atomic.Int64
	for range 4 {
		all.Go(func() {
			for range 10 {
				made.Add(int64(build(10).count()))
			}
		})
	}
	all.Wait()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	runtime.GC()
	debug.FreeOSMemory()
	runtime.ReadMemStats(&after)
	observe("collection: made %d, kept %d, collected %v, given back %v", made.Load(), keep.count(), after.NumGC > 3, after.HeapReleased > 0)
	dirty := len(bytes.Repeat([]byte{0xaa}, 8<<20))
	debug.FreeOSMemory()
	clean := make([]byte, dirty)
	require(bytes.Count(clean, []byte{0}) == dirty, "memory that came back is zero")
}

// preemption: loops without a call in them stop only when a signal interrupts them.
func preemption() {
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n := 0; !stop.Load(); n++ {
			}
		})
	}
	for range 10 {
		runtime.GC()
	}
	stop.Store(true)
	all.Wait()
	done := make(chan bool)
	go func() {
		x := 1
		for range 300_000_000 {
			x = x*3 + 1
		}
		done <- x != 0
	}()
	runtime.Gosched()
	runtime.GC()
	observe("preemption: %v", <-done)
}

func timers() {
	begin := time.Now()
	var order []int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			time.Sleep(time.Duration(10+30*i) * time.Millisecond)
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
		})
	}
	all.Wait()
	observe("sleepers: %d, early: %v", len(order), time.Since(begin) < 130*time.Millisecond)
	ticker := time.NewTicker(time.Millisecond)
	for range 10 {
		<-ticker.C
	}
	ticker.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	stopped := time.AfterFunc(time.Hour, func() {}).Stop()
	observe("ticker, deadline: %v, stopped: %v", ctx.Err(), stopped)
}

func signals() {
	c := make(chan os.Signal, 10)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGUSR2)
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGUSR1} {
		syscall.Kill(os.Getpid(), s)
		observe("signal: %v", <-c)
	}
	signal.Reset(syscall.SIGUSR1)
	signal.Ignore(syscall.SIGUSR2)
	syscall.Kill(os.Getpid(), syscall.SIGUSR2)
	observe("ignored: %v", signal.Ignored(syscall.SIGUSR2))
}

func processes() {
	self, err := os.Executable()
	require(err == nil, "os.Executable")
	var exit *exec.ExitError
	err = exec.Command(self, "exit").Run()
	observe("child: %v %v", errors.As(err, &exit), err)
	echo := exec.Command(self, "echo")
	echo.Stdin = strings.NewReader(strings.Repeat("line\n", 20000))
	out, err := echo.Output()
	observe("echo: %d bytes, %v", len(out), err)
	ctx, cancel := context.WithCancel(context.Background())
	sleeper := exec.CommandContext(ctx, self, "sleep")
	pipe, _ := sleeper.StdoutPipe()
	require(sleeper.Start() == nil, "start")
	pipe.Read(make([]byte, 20))
	cancel()
	observe("killed: %v", sleeper.Wait())
	var all sync.WaitGroup
	var good atomic.Int32
	for range 10 {
		all.Go(func() {
			var exit *exec.ExitError
			if errors.As(exec.Command(self, "exit").Run(), &exit) && exit.ExitCode() == 3 {
				good.Add(1)
			}
		})
	}
	all.Wait()
	observe("at the same time: %d", good.Load())
	_, err = exec.LookPath("no-such-program")
	observe("missing: %v", errors.Is(err, exec.ErrNotFound))
}

func pipes() {
	r, w, err := os.Pipe()
	require(err == nil, "pipe")
	require(r.SetReadDeadline(time.Now().Add(5*time.Millisecond)) == nil, "pipes have deadlines: the poller knows them")
	_, err = r.Read(make([]byte, 1))
	observe("deadline: %v", errors.Is(err, os.ErrDeadlineExceeded))
	r.SetReadDeadline(time.Time{})
	sum := make(chan [32]byte)
	go func() {
		h := sha256.New()
		io.Copy(h, r)
		sum <- [32]byte(h.Sum(nil))
	}()
	data := bytes.Repeat([]byte("0123456789abcdef"), 40000)
	for i := 0; i < len(data); i += 7777 {
		w.Write(data[i:min(i+7777, len(data))])
	}
	w.Close()
	observe("pipe: %v", <-sum == sha256.Sum256(data))
	r2, w2, _ := os.Pipe()
	closed := make(chan error)
	go func() { _, err := r2.Read(make([]byte, 1)); closed <- err }()
	time.Sleep(time.Millisecond)
	r2.Close()
	observe("closed while read: %v", errors.Is(<-closed, os.ErrClosed))
	_, err = w2.Write([]byte("x"))
	observe("nobody reads: %v", errors.Is(err, syscall.EPIPE))
}

func faults() {
	try := func(f func()) (text any) {
		defer func() { text = recover() }()
		f()
		return "nothing"
	}
	var p *tree
	observe("nil: %v", try(func() { p.payload[1] = 1 }))
	zero := len(os.Args) - 1
	observe("division: %v", try(func() { zero = 1 / zero }))
	m, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	require(err == nil, "mmap")
	old := debug.SetPanicOnFault(true)
	observe("store: %v", try(func() { m[5] = 1 }) != "nothing")
	debug.SetPanicOnFault(old)
}

func files() {
	dir, err := os.MkdirTemp(".", "d")
	require(err == nil, "MkdirTemp")
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			name := filepath.Join(dir, fmt.Sprint(i))
			os.WriteFile(name, bytes.Repeat([]byte{byte(i)}, i*100), 0o600)
			os.Rename(name, name+".done")
		})
	}
	all.Wait()
	found, _ := filepath.Glob(filepath.Join(dir, "*.done"))
	sort.Strings(found)
	total := int64(0)
	filepath.WalkDir(dir, func(_ string, d os.DirEntry, _ error) error {
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() {
			total += st.Size()
		}
		return nil
	})
	observe("files: %d, %d bytes, removed: %v", len(found), total, os.RemoveAll(dir) == nil)
}
