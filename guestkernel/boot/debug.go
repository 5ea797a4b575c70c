package boot

import (
	"fmt"

	"ringo/guestkernel/inject"
	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
	"ringo/guestkernel/trace"
)

// openRegistry makes the registry of kernel stacks in the debug window, nil when the machine has none.
func openRegistry() (*trace.Registry, error) {
	window := nucleus.DebugWindow()
	if window == nil {
		return nil, nil
	}
	r, err := trace.Open(trace.Config{
		Window: window, CPUs: int(nucleus.BootInfo().CPUs), Counter: nucleus.Counter, CPU: nucleus.CPU, Bell: nucleus.Doorbell,
		Describe: nucleus.DescribeDebug, Rings: nucleus.Rings(),
	})
	if err != nil {
		return nil, fmt.Errorf("debug window: %w", err)
	}
	return r, nil
}

// openInjector plants the bug that the command line names; nil when it names none.
func openInjector() (task.Injector, error) {
	i, err := inject.Parse(nucleus.CommandLine())
	if i == nil {
		return nil, err
	}
	return i, nil
}
