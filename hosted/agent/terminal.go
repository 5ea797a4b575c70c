package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/hosted/wire"
)

// openTerminal makes a pseudo-terminal (pty(7)) and returns its slave three times, as the command's standard streams.
func (c *command) openTerminal(start *wire.Start) ([]*os.File, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("pseudo-terminal: %w", err)
	}
	c.tty = master
	c.cleanup = append(c.cleanup, master)
	number, err := slaveNumber(master)
	if err != nil {
		return nil, err
	}
	if err := setSize(master, start.Rows, start.Columns); err != nil {
		return nil, err
	}
	var files []*os.File
	for range 3 {
		f, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			for _, open := range files {
				open.Close()
			}
			return nil, fmt.Errorf("pseudo-terminal: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

func slaveNumber(master *os.File) (int, error) {
	conn, err := master.SyscallConn()
	if err != nil {
		return 0, err
	}
	number := 0
	controlErr := conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			return
		}
		number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	})
	if err == nil {
		err = controlErr
	}
	if err != nil {
		return 0, fmt.Errorf("unlock the pseudo-terminal: %w", err)
	}
	return number, nil
}

func setSize(master *os.File, rows, columns uint16) error {
	conn, err := master.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := conn.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
	if err == nil {
		err = controlErr
	}
	if err != nil {
		return fmt.Errorf("terminal size %dx%d: %w", columns, rows, err)
	}
	return nil
}

func (c *command) resize(payload []byte) error {
	rows, columns, err := wire.ParseResize(payload)
	if err != nil || c.tty == nil {
		return err
	}
	return setSize(c.tty, rows, columns)
}

// endStdin ends the command's standard input. A terminal has no end: there the client sends an end-of-file character instead.
func (c *command) endStdin() {
	if c.tty == nil {
		c.stdin.End()
	}
}

// groupEmpty says whether the text of a cgroup.events file tells that no process is left.
func groupEmpty(events string) bool {
	for line := range strings.Lines(events) {
		if strings.TrimSpace(line) == "populated 0" {
			return true
		}
	}
	return false
}
