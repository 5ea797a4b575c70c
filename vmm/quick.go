package main

import (
	"encoding"
	"runtime"
	"strconv"
	"strings"
	"time"

	"ringo/vmm/guest"
)

// quickRun reads `vmm run` with its flags written out (--name value), as vmm itself writes them
// for the hosted machine and as people mostly do. kong's model of all commands takes longer to build
// than anything else in the monitor's start, a tenth of a boot in the hosted machine. ok is false
// for whatever is not plain and right: then kong reads it again, and complains where there is something to
// complain about. TestQuickRunAgreesWithKong keeps the two the same.
func quickRun(args []string) (c runCommand, ok bool) {
	if len(args) == 0 || args[0] != "run" {
		return c, false
	}
	c = runCommand{Arch: runtime.GOARCH, CPUs: 1, Mem: 256 << 20, Host: "auto"}
	for args = args[1:]; len(args) > 0; {
		flag := args[0]
		switch {
		case flag == "--":
			c.Program = args // with the dashes, as kong leaves it
			return c, len(args) > 1
		case flag == "--wait":
			c.Wait = true
			args = args[1:]
			continue
		case flag == "-v" || flag == "--verbose":
			c.Verbose = true
			args = args[1:]
			continue
		case flag == "" || flag[0] != '-':
			c.Program = args
			return c, true
		case len(args) == 1 || strings.HasPrefix(args[1], "-") && args[1] != "-":
			return c, false
		}
		if !c.quickFlag(flag, args[1]) {
			return c, false
		}
		args = args[2:]
	}
	return c, true
}

// quickFlag sets one flag that takes a value.
func (c *runCommand) quickFlag(name, value string) bool {
	var err error
	parse := func(u encoding.TextUnmarshaler) { err = u.UnmarshalText([]byte(value)) }
	switch name {
	case "--arch":
		c.Arch = value
		return value == "amd64" || value == "arm64"
	case "--host":
		c.Host = value
		return value == "auto" || value == "kvm" || value == "hosted"
	case "--cpus":
		c.CPUs, err = strconv.Atoi(value)
	case "--mem":
		parse(&c.Mem)
	case "--timeout":
		c.Timeout, err = time.ParseDuration(value)
	case "--kernel":
		c.Kernel = value
	case "--initrd":
		c.Initrd = &value
	case "--append":
		c.Append = value
	case "--gdb":
		c.GDB = value
	case "--name":
		c.Name = value
	case "--watch":
		c.Watch = append(c.Watch, value)
	case "--guard":
		c.Guard = value
	case "--trace":
		c.Trace = value
	case "--report":
		c.Report = value
	case "--phases":
		c.Phases = value
	case "--add":
		var a guest.Addition
		parse(&a)
		c.Add = append(c.Add, a)
	default:
		return false
	}
	return err == nil
}
