// Package boot brings the personality up on the machine and runs the program the monitor asks
// for: devices, root file system, tasks, the command channel.
//
// root.go and session.go are ordinary Go over interfaces and are tested on any host (ptrace_test.go is a CPU
// made of a traced process). machine.go and run.go bind them to the nucleus.
package boot
