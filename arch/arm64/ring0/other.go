//go:build !arm64

package ring0

// On other hosts the package has its layouts and decoders only, for tests and for debuggers of arm64
// guests. No thread ever returns from a signal there.
func signalReturnAddress() uint64 { return 0 }
