// Command probe is what the end-to-end tests run inside the hosted machine. Its first argument says what to do.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	args := os.Args[2:]
	switch os.Args[1] {
	case "cat":
		n, err := io.Copy(os.Stdout, os.Stdin)
		fmt.Fprintf(os.Stderr, "%d bytes, %v", n, err)
	case "exit":
		n, err := strconv.Atoi(args[0])
		check(err)
		os.Exit(n)
	case "die":
		n, err := strconv.Atoi(args[0])
		check(err)
		check(unix.Kill(os.Getpid(), unix.Signal(n)))
		select {} // the signal is on its way
	case "kvm":
		kvm()
	case "linger":
		linger(args)
	case "find":
		find(args[0])
	case "orphan":
		check(start("linger", args[0]))
	case "signals":
		signals()
	case "flood":
		n, err := strconv.Atoi(args[0])
		check(err)
		_, err = os.Stderr.Write(make([]byte, n))
		check(err)
		fmt.Println("done")
	case "deaf": // never reads standard input
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGTERM)
		fmt.Println("ready")
		<-c
		os.Exit(9)
	case "terminal":
		terminal()
	case "self":
		exe, err := os.Executable()
		check(err)
		b, err := os.ReadFile(exe)
		check(err)
		fmt.Print(exe, " ", string(b[len(b)-8:]))
	case "read":
		b, err := os.ReadFile(args[0])
		check(err)
		os.Stdout.Write(b)
	case "write":
		check(os.WriteFile(args[0], []byte(args[1]), 0o644))
	case "environment":
		wd, err := os.Getwd()
		check(err)
		fmt.Println(strings.Join(os.Environ(), "\n"))
		fmt.Println("wd", wd, "session", sessionLeader())
	case "temporary":
		entries, err := os.ReadDir("/tmp")
		check(err)
		fmt.Print(len(entries))
		check(os.WriteFile("/tmp/left", nil, 0o644))
	default:
		check(fmt.Errorf("unknown %q", os.Args[1]))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func start(args ...string) error {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout = os.Stdout // keeps the stream open
	return cmd.Start()
}

// linger starts a copy of itself in a session of its own, says that it runs, and stays.
func linger(args []string) {
	if len(args) == 1 {
		check(start("linger", args[0], "child"))
	}
	signal.Ignore(unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	fmt.Println("lingering")
	time.Sleep(time.Hour)
}

// find counts the processes that linger under a name.
func find(name string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(err)
	n := 0
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "linger\x00"+name) {
			n++
		}
	}
	fmt.Print(n)
}

func sessionLeader() bool {
	sid, err := unix.Getsid(0)
	return err == nil && sid == os.Getpid() && unix.Getpgrp() == os.Getpid()
}

func signals() {
	c := make(chan os.Signal, 16)
	signal.Notify(c, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	fmt.Println("ready")
	for s := range c {
		fmt.Println(s)
		if s == unix.SIGTERM {
			os.Exit(5)
		}
	}
}

func terminal() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGWINCH)
	for range 2 {
		ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		check(err)
		fmt.Printf("%dx%d\n", ws.Col, ws.Row)
		if ws.Col == 100 {
			break
		}
		<-c
	}
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	check(err)
	fmt.Fprintln(f, "controlling")
	b, err := io.ReadAll(os.Stdin)
	check(err)
	fmt.Fprintf(os.Stderr, "read %q\n", b)
}

// kvm makes a virtual machine with memory and a vCPU, and looks for the tracepoints.
func kvm() {
	const (
		getAPIVersion, createVM, createVCPU = 0xae00, 0xae01, 0xae41
	)
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	check(err)
	version, err := unix.IoctlRetInt(fd, getAPIVersion)
	check(err)
	vm, err := unix.IoctlRetInt(fd, createVM)
	for err == unix.EINTR { // a preemption signal of the Go runtime
		vm, err = unix.IoctlRetInt(fd, createVM)
	}
	check(err)
	_, err = unix.IoctlRetInt(vm, createVCPU)
	check(err)
	_, err = os.Stat("/sys/kernel/tracing/events/kvm/kvm_exit/id")
	check(err)
	fmt.Printf("kvm %d on %s with %d CPUs", version, runtime.GOARCH, runtime.NumCPU())
}
