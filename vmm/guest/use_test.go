package guest

import "testing"

func TestResidentCountsGuestMemoryOnceAndApart(t *testing.T) {
	const smaps = `00400000-00a00000 r-xp 00000000 00:01 5                          /vmm
Size:               6144 kB
Rss:                1000 kB
Pss:                 500 kB
7f0000000000-7f0010000000 rw-s 00000000 00:01 1025                /memfd:ringo-guest-ram (deleted)
Rss:               40000 kB
7f1000000000-7f1010000000 rw-s 00000000 00:01 1025                /memfd:ringo-guest-ram (deleted)
Rss:               60000 kB
7f2000000000-7f2010000000 rw-s 10000000 00:01 1025                /memfd:ringo-guest-ram (deleted)
Rss:                   8 kB
c000000000-c000400000 rw-p 00000000 00:00 0 
Rss:                 512 kB
VmFlags: rd wr mr mw me ac sd
`
	other, guest := resident([]byte(smaps), "ringo-guest-ram")
	if other != 1512<<10 || guest != 60008<<10 {
		t.Errorf("other %d KiB, guest %d KiB; want 1512 and 60008", other>>10, guest>>10)
	}
}
