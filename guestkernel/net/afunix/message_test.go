package afunix

import "testing"

// TestChargeIsLinux compares with what SIOCOUTQ answered on Linux 6.18 after one write of that size.
func TestChargeIsLinux(t *testing.T) {
	for _, c := range []struct {
		n              int
		stream, packet int64
	}{
		{1, 768, 768}, {100, 768, 768}, {300, 1280, 1280}, {704, 1280, 1280}, {705, 2304, 2304}, {2000, 4352, 4352}, {3776, 4352, 4352},
		{3777, 4864, 8448}, {4000, 4864, 8448}, {10000, 12544, 16640}, {36544, 37120, 37120},
	} {
		if got := charge(c.n, maxLinear); got != c.stream {
			t.Errorf("stream, %d bytes: %d, want %d", c.n, got, c.stream)
		}
		if got := charge(c.n, maxPacket); got != c.packet {
			t.Errorf("packet, %d bytes: %d, want %d", c.n, got, c.packet)
		}
	}
}
