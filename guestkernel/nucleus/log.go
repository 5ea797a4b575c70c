package nucleus

import "ringo/internal/bootinfo"

const (
	powerOffNormal = bootinfo.PowerOffNormal
	powerOffPanic  = bootinfo.PowerOffPanic
)

// The log ring keeps what was written to the early console, for who starts late (virtio
// console) and for a debugger. Lock held.
const logSize = 64 << 10

var (
	logRing  [logSize]byte
	logTotal uint64 // bytes ever written
	logQuiet bool   // a console driver reads the ring: nothing goes to the early console
)

// logWrite writes bytes to the log.
func logWrite(p uintptr, n int) {
	for _, b := range memory(p, n) {
		logRing[logTotal%logSize] = b
		logTotal++
	}
	if !logQuiet {
		consoleWrite(p, n)
	}
}

// lineLength is the length of the first line of b, its newline included, or of all of it.
func lineLength(b []byte) int {
	for i, c := range b {
		if c == '\n' {
			return i + 1
		}
	}
	return len(b)
}

// The nucleus's own printing, without fmt: it must work in any state.

func printString(s string) { logWrite(stringAddr(s), len(s)) }

func printHex(v uint64) {
	var b [18]byte
	const digits = "0123456789abcdef"
	i := len(b)
	for {
		i--
		b[i] = digits[v&15]
		v >>= 4
		if v == 0 {
			break
		}
	}
	i--
	b[i] = 'x'
	i--
	b[i] = '0'
	printBytes(b[i:])
}

func printDec(v uint64) {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		v /= 10
		if v == 0 {
			break
		}
	}
	printBytes(b[i:])
}

func printBytes(b []byte) { logWrite(bytesAddr(b), len(b)) }
