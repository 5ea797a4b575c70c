package loader

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
)

// auxInput is what the auxiliary vector tells about the program.
type auxInput struct{ phdr, phnum, entry, base, vdso uint64 }

// Keys of the auxiliary vector (getauxval(3)).
const (
	atNull        = 0
	atPhdr        = 3
	atPhent       = 4
	atPhnum       = 5
	atPagesz      = 6
	atBase        = 7
	atFlags       = 8
	atEntry       = 9
	atUID         = 11
	atEUID        = 12
	atGID         = 13
	atEGID        = 14
	atPlatform    = 15
	atHWCAP       = 16
	atClktck      = 17
	atSecure      = 23
	atRandom      = 25
	atHWCAP2      = 26
	atExecfn      = 31
	atSysinfoEhdr = 33
	atMinSigStack = 51

	clockTicks = 100 // USER_HZ

	// initialStack is mapped below the arguments at once; the rest grows.
	initialStack = 128 << 10
)

// buildStack maps the stack and fills it: argc, argv, envp, auxv, then their strings (create_elf_tables). It
// answers the stack pointer, 16-byte aligned.
func buildStack(space *mm.Space, p Program, img *mm.Image, in auxInput, hw Hardware, random mm.Random, exec bool) (uint64, error) {
	top := mm.StackTop(random)

	// The strings, from the top down, as one block.
	var strings []byte
	put := func(s string) (off uint64) {
		off = uint64(len(strings))
		strings = append(append(strings, s...), 0)
		return off
	}
	var seed [16]byte
	binary.LittleEndian.PutUint64(seed[:], random())
	binary.LittleEndian.PutUint64(seed[8:], random())
	strings = append(strings, seed[:]...)
	platform := put(hw.Platform)
	argStart := uint64(len(strings))
	argv := make([]uint64, len(p.Argv))
	for i, s := range p.Argv {
		argv[i] = put(s)
	}
	envStart := uint64(len(strings))
	envv := make([]uint64, len(p.Envv))
	for i, s := range p.Envv {
		envv[i] = put(s)
	}
	envEnd := uint64(len(strings))
	execfn := put(p.Path)
	base := (top - 8 - uint64(len(strings))) &^ 15

	secure := uint64(0)
	if p.Secure {
		secure = 1
	}
	aux := []uint64{
		atHWCAP, hw.HWCAP, atPagesz, mm.PageSize, atClktck, clockTicks,
		atPhdr, in.phdr, atPhent, phdrSize, atPhnum, in.phnum, atBase, in.base, atFlags, 0, atEntry, in.entry,
		atUID, uint64(p.UID), atEUID, uint64(p.EUID), atGID, uint64(p.GID), atEGID, uint64(p.EGID), atSecure, secure,
		atRandom, base, atHWCAP2, hw.HWCAP2, atExecfn, base + execfn, atPlatform, base + platform,
	}
	if in.vdso != 0 {
		aux = append(aux, atSysinfoEhdr, in.vdso)
	}
	if hw.MinSigStack != 0 {
		aux = append(aux, atMinSigStack, hw.MinSigStack)
	}
	aux = append(aux, atNull, 0)

	words := make([]uint64, 0, 3+len(argv)+len(envv)+len(aux))
	words = append(words, uint64(len(argv)))
	for _, off := range argv {
		words = append(words, base+off)
	}
	words = append(words, 0)
	for _, off := range envv {
		words = append(words, base+off)
	}
	words = append(words, 0)
	words = append(words, aux...)
	sp := (base - 8*uint64(len(words))) &^ 15

	prot := mm.Read | mm.Write
	if exec {
		prot |= mm.Exec
	}
	end := (top + mm.PageSize - 1) &^ (mm.PageSize - 1)
	start := (sp - initialStack) &^ (mm.PageSize - 1)
	if _, err := space.Map(mm.Request{
		Addr: start, Len: end - start, Prot: prot, Fixed: true, NoReplace: true, Flags: mm.VMAGrowsDown | mm.VMAStack, Name: "[stack]",
	}); err != nil {
		return 0, unix.ENOMEM
	}
	raw := make([]byte, 8*len(words))
	for i, w := range words {
		binary.LittleEndian.PutUint64(raw[8*i:], w)
	}
	if _, err := space.CopyOut(sp, raw); err != nil {
		return 0, unix.ENOMEM
	}
	if _, err := space.CopyOut(base, strings); err != nil {
		return 0, unix.ENOMEM
	}
	img.StackStart = sp
	img.ArgStart, img.ArgEnd = base+argStart, base+envStart
	img.EnvStart, img.EnvEnd = base+envStart, base+envEnd
	img.Auxv = aux
	return sp, nil
}
