package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
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
	return acceptAll(ctx, listener, func(ctx context.Context, conn net.Conn) { c.carry(ctx, conn, name.String(), binary) }), nil
}

// acceptAll serves every connection on a goroutine until stop is called, which waits for them. serve ends with its context.
func acceptAll(ctx context.Context, listener net.Listener, serve func(context.Context, net.Conn)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				serve(ctx, conn)
			})
		}
	})
	return func() {
		cancel()
		listener.Close()
		serving.Wait()
	}
}

// carry joins one connection to the guest's socket inside.
func (c *runCommand) carry(ctx context.Context, conn net.Conn, name, binary string) {
	machine, err := hosted.Open(ctx, c.Arch, nil)
	if err != nil {
		return // the guest's own command says why
	}
	// Whoever was connected sees the connection close; there is nobody else to tell.
	_, _ = machine.Run(ctx, hosted.Command{Argv: []string{binary, "relay", name}, Env: hostedEnv(), Dir: "/", Stdin: conn, Stdout: conn})
}

// gdbAddress is the network and address of --gdb.
func gdbAddress(text string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" {
			return "", "", fmt.Errorf("%q: want unix:PATH", text)
		}
		return "unix", path, nil
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(text, "tcp:"))
	if err != nil {
		return "", "", fmt.Errorf("%q: want an address like localhost:1234, or unix:PATH", text)
	}
	if host == "" {
		host = "localhost" // a debugger may do anything to the guest: not to all the world by a slip
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

// listenGDB carries every connection to the address of --gdb to the guest's debugger.
func (c *runCommand) listenGDB(name *control.Name) (stop func(), err error) {
	if c.GDB == "" {
		if c.Wait && name == nil {
			return nil, errors.New("--wait: this guest cannot be reached by a debugger: see vmm run -v")
		}
		return func() {}, nil
	}
	if name == nil {
		return nil, errors.New("--gdb: this guest has no control socket: see vmm run -v")
	}
	network, address, err := gdbAddress(c.GDB)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("--gdb: %w", err)
	}
	fmt.Fprintf(os.Stderr, "vmm: gdb can attach: target remote %s\n", listener.Addr())
	d, err := control.OpenDir()
	if err != nil {
		listener.Close()
		return nil, err
	}
	client := control.NewClient(d, name.String())
	return acceptAll(context.Background(), listener, func(ctx context.Context, conn net.Conn) {
		guest, err := client.Upgrade(ctx, "/v1/gdb")
		if err != nil {
			fmt.Fprintln(os.Stderr, "vmm: gdb:", err)
			return
		}
		splice(conn, guest)
	}), nil
}

// splice copies both ways until either ends, and closes both.
func splice(a, b net.Conn) {
	var both sync.WaitGroup
	for _, c := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(c[0], c[1])
			c[0].Close()
			c[1].Close()
		})
	}
	both.Wait()
}

type gdbCommand struct{ guestName }

// Run is what kong calls.
func (c *gdbCommand) Run() error {
	cl, err := client(c.Name)
	if err != nil {
		return err
	}
	// Ctrl-C is for gdb, which sends what it means.
	signal.Ignore(os.Interrupt)
	conn, err := cl.Upgrade(context.Background(), "/v1/gdb")
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		conn.Close() // gdb has gone
	}()
	_, err = io.Copy(os.Stdout, conn)
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
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
