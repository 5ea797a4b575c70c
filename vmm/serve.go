package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"ringo/hosted"
	"ringo/vmm/control"
	"ringo/vmm/guest"
)

// hostedDir is the folder of running guests in a hosted machine, where only /dev is the same for
// all commands.
const hostedDir = "/dev/shm/ringo"

func hostedEnv() []string { return append(hosted.DefaultEnv(), control.EnvDir+"="+hostedDir) }

// claim takes the guest's name. Without --name, a host where that cannot be done runs the guest all the same: the
// name is then nil.
func (c *runCommand) claim(host string) (*control.Name, error) {
	var n *control.Name
	d, err := control.OpenDir()
	if err == nil {
		n, err = d.Claim(c.Name, control.Owner{PID: os.Getpid(), Host: host})
	}
	if err != nil && c.Name == "" {
		if c.Verbose {
			fmt.Fprintf(os.Stderr, "vmm: this guest cannot be reached by other commands: %v\n", err)
		}
		return nil, nil
	}
	return n, err
}

// serveControl answers requests about a guest until end is called.
func serveControl(name *control.Name, l *guest.Live) (end func(), err error) {
	listener, err := name.Listen()
	if err != nil {
		return nil, err
	}
	l.SetName(name.String())
	s := control.NewServer(l)
	s.HandleStream("GET /v1/trace", "application/octet-stream", func(_ *http.Request, w io.Writer) error { return l.WriteTrace(w) })
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(listener); err != nil {
			fmt.Fprintln(os.Stderr, "vmm: control socket:", err)
		}
	})
	return func() {
		// What fails here concerns clients, and they know.
		_ = s.Close()
		serving.Wait()
	}, nil
}

// forwardControl carries every connection to the guest's control socket outside to the one inside the hosted machine.
func (c *runCommand) forwardControl(ctx context.Context, name *control.Name, binary string) (stop func(), err error) {
	listener, err := name.Listen()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			carrying.Go(func() { c.carry(ctx, conn, name.String(), binary) })
		}
	})
	return func() {
		cancel()
		listener.Close()
		carrying.Wait()
	}, nil
}

// carry joins one connection to the guest's socket inside.
func (c *runCommand) carry(ctx context.Context, conn net.Conn, name, binary string) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	machine, err := hosted.Open(ctx, c.Arch, nil)
	if err != nil {
		return // the guest's own command says why
	}
	// Whoever was connected sees the connection close; there is nobody else to tell.
	_, _ = machine.Run(ctx, hosted.Command{Argv: []string{binary, "relay", name}, Env: hostedEnv(), Dir: "/", Stdin: conn, Stdout: conn})
}

// relayTime is how long a relay waits for its guest's monitor to start.
const relayTime = time.Minute

// relay joins standard input and output to the control socket of a guest: the inner half of carry.
func relay(name string) error {
	d, err := control.OpenDir()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), relayTime)
	defer cancel()
	if err := d.Await(ctx, name); err != nil {
		return err
	}
	conn, err := d.Dial(name)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}
