package nucleus

import "math/bits"

// generator is ChaCha20 (RFC 8439, section 2.3) used as a random generator with fast key erasure: each
// request's first output replaces the key.
type generator struct {
	key   [8]uint32
	nonce uint64
}

func (g *generator) seed(s *[32]byte) {
	for i := range g.key {
		g.key[i] = uint32(s[4*i]) | uint32(s[4*i+1])<<8 | uint32(s[4*i+2])<<16 | uint32(s[4*i+3])<<24
	}
}

// read fills b.
func (g *generator) read(b []byte) {
	g.nonce++
	var block [16]uint32
	g.block(&block, 0)
	next := [8]uint32(block[:8])
	for counter := uint32(1); len(b) > 0; counter++ {
		g.block(&block, counter)
		for i := 0; i < 64 && len(b) > 0; i++ {
			b[0] = byte(block[i/4] >> (8 * (i % 4)))
			b = b[1:]
		}
	}
	g.key = next
}

func (g *generator) block(out *[16]uint32, counter uint32) {
	in := [16]uint32{
		0x61707865, 0x3320646e, 0x79622d32, 0x6b206574,
		g.key[0], g.key[1], g.key[2], g.key[3], g.key[4], g.key[5], g.key[6], g.key[7],
		counter, uint32(g.nonce), uint32(g.nonce >> 32), 0,
	}
	x := in
	for range 10 {
		quarter(&x, 0, 4, 8, 12)
		quarter(&x, 1, 5, 9, 13)
		quarter(&x, 2, 6, 10, 14)
		quarter(&x, 3, 7, 11, 15)
		quarter(&x, 0, 5, 10, 15)
		quarter(&x, 1, 6, 11, 12)
		quarter(&x, 2, 7, 8, 13)
		quarter(&x, 3, 4, 9, 14)
	}
	for i := range x {
		out[i] = x[i] + in[i]
	}
}

func quarter(x *[16]uint32, a, b, c, d int) {
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 16)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 12)
	x[a] += x[b]
	x[d] = bits.RotateLeft32(x[d]^x[a], 8)
	x[c] += x[d]
	x[b] = bits.RotateLeft32(x[b]^x[c], 7)
}
