package bootinfo

// FlagText in Info.Flags: the doorbell has a second register, four bytes behind the first, that prints. It takes the number of a frame (GPA >> 12)
// that begins with a Text; the vCPU goes on when the monitor has copied it. One exit for a piece of text instead of
// one for each character: a panic prints thousands.
const FlagText = 1

// TextRegister is the register's distance from Info.Doorbell, in bytes.
const TextRegister = 4

// Text is what is printed, a page.
type Text struct {
	Size  uint32 // of Bytes that count; the monitor takes no more than there are
	Bytes [PageSize - 4]byte
}
