// Command guestkernel is the kernel: package main of the ELF that the monitor loads. The Go
// runtime starts it in kernel mode, see guestkernel/nucleus.
package main

import (
	"fmt"

	"ringo/guestkernel/nucleus"
	"ringo/internal/bootinfo"
)

func main() {
	nucleus.Stamp(bootinfo.PhaseMain)
	fmt.Printf("ringo: %d CPUs, command line %q\n", nucleus.BootInfo().CPUs, nucleus.CommandLine())
	nucleus.PowerOff(bootinfo.PowerOffNormal)
}
