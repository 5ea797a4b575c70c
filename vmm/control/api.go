package control

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Info describes a running guest.
type Info struct {
	Name    string    `json:"name"`
	Arch    string    `json:"arch"`
	PID     int       `json:"pid"` // the monitor's, where it runs
	CPUs    int       `json:"cpus"`
	Memory  uint64    `json:"memory_bytes"`
	Since   time.Time `json:"since"`
	State   string    `json:"state"` // one of the States
	Program []string  `json:"program"`
	// Terminal: the program has a terminal, which wants a raw one at the other end of its console.
	Terminal bool `json:"terminal"`
}

// States of a guest.
const (
	StateRunning  = "running"
	StatePaused   = "paused"
	StateStarting = "starting" // its monitor does not answer yet
)

// Hex is a number that JSON carries as a string like "0xffff80000021f0a5": addresses do not
// fit the numbers of many readers.
type Hex uint64

// MarshalText is hexadecimal with 0x.
func (h Hex) MarshalText() ([]byte, error) {
	return append([]byte("0x"), strconv.FormatUint(uint64(h), 16)...), nil
}

// UnmarshalText takes what strconv.ParseUint takes with base 0.
func (h *Hex) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 0, 64)
	*h = Hex(n)
	return err
}

// Frame is one call on a stack.
type Frame struct {
	PC       Hex    `json:"pc"`
	Function string `json:"function,omitempty"` // "" when unknown
	Offset   Hex    `json:"offset,omitempty"`   // of PC in it
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
}

// Stack is the calls of a vCPU or task, innermost first.
type Stack struct {
	Name   string  `json:"name"`            // "vCPU 0", "task 7 sh"
	State  string  `json:"state,omitempty"` // "kernel", "user mode", "asleep in accept"
	SP     Hex     `json:"sp"`
	Frames []Frame `json:"frames"`
	// Error says why there are no frames.
	Error string `json:"error,omitempty"`
}

// Backtrace is the stacks of a moment.
type Backtrace struct {
	Stacks []Stack `json:"stacks"`
	// NoNames says why frames have no names.
	NoNames string `json:"no_names,omitempty"`
}

// Task is a task of the guest's kernel.
type Task struct {
	TID   int    `json:"tid"`
	PID   int    `json:"pid"`
	Name  string `json:"name"`
	State string `json:"state"`
	CPU   int    `json:"cpu"` // -1: none
	// Call is the system call it is in, Since when it is asleep.
	Call   string        `json:"call,omitempty"`
	Asleep time.Duration `json:"asleep_ns,omitempty"`
}

// Top is what KVM has done for a guest since somebody began to count.
type Top struct {
	Elapsed time.Duration `json:"elapsed_ns"`
	Exits   []TopExit     `json:"exits"`  // most time first
	Faults  uint64        `json:"faults"` // guest page faults
	Frames  []TopFrame    `json:"frames"` // with the most of them
	Lost    uint64        `json:"lost"`   // events that were not counted
}

// TopExit is the exits of one reason: how many, how long the vCPUs were out of the guest for them, and how many by the binary logarithm
// of that time in ns.
type TopExit struct {
	Reason    string        `json:"reason"`
	Count     uint64        `json:"count"`
	Time      time.Duration `json:"time_ns"`
	Histogram []uint64      `json:"histogram"`
}

// TopFrame is the page faults on one frame of guest memory.
type TopFrame struct {
	GPA   Hex    `json:"gpa"`
	Count uint64 `json:"count"`
	Owner string `json:"owner,omitempty"` // to the kernel's allocator
}

// ErrUnsupported is wrapped by what this guest or monitor cannot do.
var ErrUnsupported = errors.New("not supported")

// ErrRequest is wrapped by requests that make no sense.
var ErrRequest = errors.New("bad request")

// ErrState is wrapped by requests that make no sense in the guest's present state.
var ErrState = errors.New("not now")

// RemoteError is what the monitor answered instead of a result.
type RemoteError struct {
	Status  int // of HTTP
	Message string
}

func (e *RemoteError) Error() string { return e.Message }

// Is makes the sentinel errors above survive the journey.
func (e *RemoteError) Is(target error) bool {
	return target == statusErrors[e.Status]
}

// String is as a Go panic prints it.
func (f Frame) String() string {
	switch {
	case f.Function == "":
		return fmt.Sprintf("%#016x", uint64(f.PC))
	case f.File == "":
		return fmt.Sprintf("%#016x %s+%#x", uint64(f.PC), f.Function, uint64(f.Offset))
	}
	return fmt.Sprintf("%#016x %s+%#x (%s:%d)", uint64(f.PC), f.Function, uint64(f.Offset), f.File, f.Line)
}
