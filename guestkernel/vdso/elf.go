package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"

	"ringo/guestkernel/mm"
)

// entrySize is the distance of entry points in the code, bytes.
const entrySize = 16

// built is the image and where its entries are, by name.
type built struct {
	bytes   []byte
	entries map[string]uint64
}

// build lays a shared object of one page around the code: program headers, and what the dynamic section needs so that a function can be
// found by name and version (gABI chapter 5; symbol versions as in the LSB core specification, chapter 10.7). Its only segment starts at address 0.
func build(code []byte, names [][]string) (built, error) {
	le := binary.LittleEndian
	const soname = "linux-vdso.so.1"
	strings := []byte{0}
	name := func(s string) uint32 {
		at := uint32(len(strings))
		strings = append(append(strings, s...), 0)
		return at
	}
	sonameAt, versionAt := name(soname), name(version)

	// Sizes first: every table's place must be known before its content.
	count := 1
	for _, n := range names {
		count += len(n)
	}
	const headers = 64 + 2*56
	hashAt := uint64(headers)
	hashSize := uint64(4 * (2 + 1 + count)) // one bucket
	symbolsAt := align(hashAt+hashSize, 8)
	versionsAt := symbolsAt + uint64(count)*elf.Sym64Size
	definitionsAt := align(versionsAt+uint64(2*count), 8)
	const definitionsSize = 2 * (20 + 8)
	dynamicAt := align(definitionsAt+definitionsSize, 8)
	const dynamicCount = 11
	stringsAt := dynamicAt + dynamicCount*16

	var table bytes.Buffer
	entries := map[string]uint64{}
	put := func(v any) { binary.Write(&table, le, v) }
	put(elf.Sym64{})
	var symbolNames []elf.Sym64
	for i, all := range names {
		for _, n := range all {
			symbolNames = append(symbolNames, elf.Sym64{
				Name: name(n), Info: byte(elf.STB_GLOBAL)<<4 | byte(elf.STT_FUNC), Shndx: 1, Value: uint64(i * entrySize), Size: entrySize,
			})
			entries[n] = uint64(i * entrySize)
		}
	}
	codeAt := align(stringsAt+uint64(len(strings)), entrySize)
	for i := range symbolNames {
		symbolNames[i].Value += codeAt
		put(symbolNames[i])
	}
	for n := range entries {
		entries[n] += codeAt
	}
	size := codeAt + uint64(len(code))
	if size > mm.PageSize {
		return built{}, fmt.Errorf("the vDSO has %d bytes, more than a page", size)
	}

	page := make([]byte, mm.PageSize)
	copy(page[symbolsAt:], table.Bytes())
	copy(page[stringsAt:], strings)
	copy(page[codeAt:], code)

	// Hash table: one bucket, a chain through all symbols.
	hash := page[hashAt:]
	for i, v := range []uint32{1, uint32(count), 1} {
		le.PutUint32(hash[4*i:], v)
	}
	for i := 1; i < count-1; i++ {
		le.PutUint32(hash[12+4*i:], uint32(i+1))
	}
	for i := 1; i < count; i++ {
		le.PutUint16(page[versionsAt+uint64(2*i):], 2)
	}
	// Version definitions: 1 is the file's own name, 2 the version.
	for i, d := range []struct {
		flags uint16
		name  string
		at    uint32
	}{{1, soname, sonameAt}, {0, version, versionAt}} {
		b := page[definitionsAt+uint64(28*i):]
		le.PutUint16(b, 1)
		le.PutUint16(b[2:], d.flags)
		le.PutUint16(b[4:], uint16(i+1))
		le.PutUint16(b[6:], 1)
		le.PutUint32(b[8:], sysvHash(d.name))
		le.PutUint32(b[12:], 20)
		if i == 0 {
			le.PutUint32(b[16:], 28)
		}
		le.PutUint32(b[20:], d.at)
	}
	dynamic := [dynamicCount][2]uint64{
		{uint64(elf.DT_SONAME), uint64(sonameAt)}, {uint64(elf.DT_HASH), hashAt}, {uint64(elf.DT_STRTAB), stringsAt},
		{uint64(elf.DT_SYMTAB), symbolsAt}, {uint64(elf.DT_STRSZ), uint64(len(strings))}, {uint64(elf.DT_SYMENT), elf.Sym64Size},
		{uint64(elf.DT_VERSYM), versionsAt}, {uint64(elf.DT_VERDEF), definitionsAt}, {uint64(elf.DT_VERDEFNUM), 2},
	}
	for i, d := range dynamic {
		le.PutUint64(page[dynamicAt+uint64(16*i):], d[0])
		le.PutUint64(page[dynamicAt+uint64(16*i+8):], d[1])
	}

	var head bytes.Buffer
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: machine, Version: 1, Entry: codeAt, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	segment := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Filesz: size, Memsz: size, Align: mm.PageSize}
	dynamicSegment := elf.Prog64{
		Type: uint32(elf.PT_DYNAMIC), Flags: uint32(elf.PF_R), Off: dynamicAt, Vaddr: dynamicAt, Paddr: dynamicAt,
		Filesz: dynamicCount * 16, Memsz: dynamicCount * 16, Align: 8,
	}
	for _, v := range []any{h, segment, dynamicSegment} {
		binary.Write(&head, le, v)
	}
	copy(page, head.Bytes())
	return built{page, entries}, nil
}

func align(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }

// sysvHash is the ELF hash function (gABI chapter 5).
func sysvHash(s string) uint32 {
	var h uint32
	for i := range len(s) {
		h = h<<4 + uint32(s[i])
		g := h & 0xf0000000
		h ^= g >> 24
		h &^= g
	}
	return h
}
