// Command guestkernel is the kernel: package main of the ELF that the monitor loads. The Go
// runtime starts it in kernel mode, see guestkernel/nucleus.
package main

import (
	"ringo/guestkernel/boot"
	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/selftest"
	"ringo/internal/bootinfo"
)

func main() {
	nucleus.Stamp(bootinfo.PhaseMain)
	selftest.Crash(nucleus.CommandLine())
	if load, ok := selftest.Wanted(nucleus.CommandLine()); ok {
		if !selftest.Run(load) {
			nucleus.PowerOff(bootinfo.PowerOffPanic)
		}
		nucleus.PowerOff(bootinfo.PowerOffNormal)
	}
	boot.Main()
}
