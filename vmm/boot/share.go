package boot

import "bytes"

// span is a run of addresses as in the kernel file.
type span struct{ from, to uint64 }

// shareBlock is the unit in which a kernel file is shared: a huge page, so that sharing costs the guest
// no more second-level faults than memory of its own.
const shareBlock = 2 << 20

// share shares the blocks of the image that are the file's bytes and nothing else: covered by read-only
// segments, between which the file holds the zeroes that memory is to hold. What turns out to be
// written after all (a relocation) is given memory of its own by whoever shares.
func (im *image) share(k *Kernel, share func(gpa, size uint64, offset int64) error) error {
	for gpa := (k.Phys + shareBlock - 1) &^ (shareBlock - 1); gpa+shareBlock <= k.Phys+k.Size; gpa += shareBlock {
		from := im.low + (gpa - k.Phys)
		off, ok := im.plain(from, from+shareBlock)
		if !ok || off%shareBlock != 0 {
			continue
		}
		if err := share(gpa, shareBlock, int64(off)); err != nil {
			return err
		}
		im.shared = append(im.shared, span{from, from + shareBlock})
	}
	return nil
}

// plain says at which offset the file holds exactly what [from, to) of the image is to hold.
func (im *image) plain(from, to uint64) (off uint64, ok bool) {
	at, first := from, true
	for _, s := range im.segments {
		if s.vaddr+s.memsz <= at || at >= to {
			continue
		}
		begin := max(s.vaddr, at)
		switch o := s.off + (begin - s.vaddr) - (begin - from); {
		case s.write || s.filesz != s.memsz:
			return 0, false
		case first && begin != at: // before the first segment
			return 0, false
		case first:
			off, first = o, false
		case o != off || !im.zeroes(off+(at-from), begin-at):
			return 0, false
		}
		at = s.vaddr + s.memsz
	}
	return off, at >= to
}

// zeroes says whether n bytes of the file, at most a page or two between segments, are zero.
func (im *image) zeroes(off, n uint64) bool {
	const most = 64 << 10
	if n > most {
		return false
	}
	b := make([]byte, n)
	return im.read(off, b, "the space between segments") == nil && len(bytes.TrimLeft(b, "\x00")) == 0
}

// apart calls f for the parts of [from, to) that are not shared.
func (im *image) apart(from, to uint64, f func(from, to uint64) error) error {
	for _, s := range im.shared {
		if s.to <= from || s.from >= to {
			continue
		}
		if s.from > from {
			if err := f(from, s.from); err != nil {
				return err
			}
		}
		from = s.to
	}
	if from >= to {
		return nil
	}
	return f(from, to)
}
