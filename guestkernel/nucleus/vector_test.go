package nucleus

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// Who has AVX instructions. Except where noted they look at the CPU features that the Go runtime found, or at XCR0 itself (golang.org/x/sys/cpu), and
// XCR0 is without AVX then.
var usersOfAVX = []string{
	"runtime.asyncPreempt.abi0", "runtime.memmove", "runtime.memclrNoHeapPointers", "countbody", "indexbody", "indexbytebody", "memeqbody", "cmpbody",
	"expandAVX512_", "internal/runtime/gc/scan.", "math.archExp.abi0", "hash/crc32.ieeeCLMUL.abi0",
	"crypto/internal/boring/sig.", // bytes to be found in a file, never executed
	"crypto/sha1.block", "crypto/internal/fips140/sha256.block", "crypto/internal/fips140/sha512.block",
	"ringo/arch/amd64/selftest.check.abi0",  // runs in user mode
	"ringo/arch/amd64/wrong.StoreWide.abi0", // puts the register back
}

// TestUsersOfAVX: the upper halves of the vector registers belong to a user while the kernel runs (arch/amd64/ring0/vector.go), so whoever is new in this
// list has to be looked at.
func TestUsersOfAVX(t *testing.T) {
	funcs, _ := functions(t, buildKernel(t, "amd64"))
	found := 0
	for _, f := range funcs {
		if !usesAVX(f.code) {
			continue
		}
		found++
		if !slices.ContainsFunc(usersOfAVX, func(p string) bool { return strings.HasPrefix(f.name, p) }) {
			t.Errorf("%s has VEX or EVEX instructions: does it ask internal/cpu first? Else it changes a user's registers", f.name)
		}
	}
	if found < 10 {
		t.Errorf("only %d functions have AVX instructions: the search does not work", found)
	}
}

// usesAVX decodes up to the first VEX or EVEX prefix. Instructions that the decoder does not know are passed over byte by byte: they could hide one, or
// look like one. VEX instructions on general registers (maps 2 and 3, BMI) are left out.
func usesAVX(code []byte) bool {
	for off := 0; off < len(code); {
		rest := code[off:]
		if len(rest) > 4 && (rest[0] == 0xc5 || rest[0] == 0x62 || rest[0] == 0xc4 && !bmi(rest)) {
			return true
		}
		if rest[0] == 0xc4 && len(rest) > 4 {
			off += 5 // with registers alone, which is how the compiler uses them; else what follows decodes as something harmless
			continue
		}
		if inst, err := x86asm.Decode(rest, 64); err == nil && inst.Op != 0 {
			off += inst.Len
			continue
		}
		off++
	}
	return false
}

// bmi says whether a three-byte VEX instruction is one of ANDN, BLSR and its kind, BEXTR, BZHI, PDEP, PEXT, MULX, SARX, SHLX, SHRX (map 2) or RORX (map 3).
func bmi(c []byte) bool {
	switch m, op := c[1]&0x1f, c[3]; m {
	case 2:
		return op == 0xf2 || op == 0xf3 || op == 0xf5 || op == 0xf6 || op == 0xf7
	case 3:
		return op == 0xf0
	}
	return false
}
