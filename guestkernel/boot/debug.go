package boot

import (
	"fmt"

	"ringo/guestkernel/nucleus"
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
		Describe: nucleus.DescribeDebug,
	})
	if err != nil {
		return nil, fmt.Errorf("debug window: %w", err)
	}
	return r, nil
}
