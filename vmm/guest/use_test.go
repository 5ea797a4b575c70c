package guest

import (
	"testing"

	"ringo/vmm/machine"
)

func TestResidentCountsGuestMemoryOnceAndApart(t *testing.T) {
	const smaps = `00400000-00a00000 r-xp 00000000 00:01 5                          /vmm
Size:               6144 kB
Rss:                1000 kB
Pss:                 500 kB
7f0000000000-7f0010000000 rw-s 00000000 00:01 1025                /memfd:ringo-guest-ram (deleted)
Rss:               40000 kB
7f1000000000-7f1010000000 rw-s 00000000 00:01 1025                /memfd:ringo-guest-ram (deleted)
Rss:               60000 kB
7f1010000000-7f1010200000 r--p 00000000 00:02 1030                /programs/ringo.elf
Rss:                   4 kB
7f2000000000-7f2010000000 rw-s 10000000 00:01 1025                /memfd:ringo-guest-ram (deleted)
Rss:                   8 kB
7f2010000000-7f2010200000 r--p 00000000 00:02 1030                /programs/ringo.elf
Rss:                 100 kB
c000000000-c000400000 rw-p 00000000 00:00 0 
Rss:                 512 kB
VmFlags: rd wr mr mw me ac sd
`
	views := []machine.View{
		{Start: 0x7f0000000000, End: 0x7f0010200000}, {Start: 0x7f1000000000, End: 0x7f1010200000},
		{Start: 0x7f2000000000, End: 0x7f2010000000, GPA: 1 << 32},
	}
	other, guest := resident([]byte(smaps), views)
	if other != 1612<<10 || guest != 60012<<10 {
		t.Errorf("other %d KiB, guest %d KiB; want 1612 and 60012", other>>10, guest>>10)
	}
}
