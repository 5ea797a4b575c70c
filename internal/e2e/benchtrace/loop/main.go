// Command loop makes system calls in a loop and prints the nanoseconds of one of each, the least of several measurements.
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	zero, err := unix.Open("/dev/zero", unix.O_RDONLY, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "loop: /dev/zero:", err)
		os.Exit(1)
	}
	var buf [1]byte
	var poll [1]unix.PollFd
	poll[0] = unix.PollFd{Fd: int32(zero), Events: unix.POLLIN}
	var now unix.Stat_t
	for _, call := range []struct {
		name string
		make func()
	}{
		{"read", func() { unix.Read(zero, buf[:]) }},
		{"lseek", func() { unix.Seek(zero, 0, 0) }},
		{"poll", func() { unix.Poll(poll[:], 0) }},
		{"fstat", func() { unix.Fstat(zero, &now) }},
	} {
		fmt.Printf("%s %d\n", call.name, measure(call.make).Nanoseconds())
	}
}

// measure is the time of one call: the least average over batches.
func measure(call func()) time.Duration {
	const batches, n = 20, 2000
	least := time.Duration(1<<63 - 1)
	for range batches {
		start := time.Now()
		for range n {
			call()
		}
		least = min(least, time.Since(start)/n)
	}
	return least
}
