package gdb

import (
	"fmt"
)

// readRegisters is g: all of them in order, x for what is not known.
func (s *session) readRegisters() ([]byte, error) {
	r, err := s.t.Registers(s.general)
	if err != nil {
		return nil, err
	}
	var b []byte
	for n, d := range s.t.Description().Registers() {
		b = appendRegister(b, r.Get(n), d.Bits/8)
	}
	return b, nil
}

func appendRegister(b, value []byte, size int) []byte {
	if value == nil {
		for range 2 * size {
			b = append(b, 'x')
		}
		return b
	}
	return appendHex(b, value)
}

// writeRegisters is G, which may leave out registers at the end.
func (s *session) writeRegisters(text []byte) ([]byte, error) {
	r, err := s.t.Registers(s.general)
	if err != nil {
		return nil, err
	}
	for n, d := range s.t.Description().Registers() {
		if len(text) == 0 {
			break
		}
		size := d.Bits / 4
		if len(text) < size {
			return nil, errMalformed
		}
		field := text[:size]
		text = text[size:]
		if field[0] == 'x' {
			continue
		}
		value, fine := unhex(field)
		if !fine {
			return nil, errMalformed
		}
		if !r.Set(n, value) {
			return nil, fmt.Errorf("register %s cannot be changed", d.Name)
		}
	}
	return ok, nil
}

func (s *session) readRegister(in *scanner) ([]byte, error) {
	n := in.number()
	all := s.t.Description().Registers()
	if !in.ok() || n >= uint64(len(all)) {
		return nil, errMalformed
	}
	r, err := s.t.Registers(s.general)
	if err != nil {
		return nil, err
	}
	return appendRegister(nil, r.Get(int(n)), all[n].Bits/8), nil
}

func (s *session) writeRegister(in *scanner) ([]byte, error) {
	n := in.number()
	in.expect('=')
	value, fine := unhex(in.rest)
	all := s.t.Description().Registers()
	if in.bad || !fine || n >= uint64(len(all)) {
		return nil, errMalformed
	}
	r, err := s.t.Registers(s.general)
	if err != nil {
		return nil, err
	}
	if !r.Set(int(n), value) {
		return nil, fmt.Errorf("register %s cannot be changed", all[n].Name)
	}
	return ok, nil
}

// maxMemory is the most memory of one packet, in bytes.
const maxMemory = PacketSize/2 - 16

// readMemory is m ADDR,LEN. Less than was asked for is an answer, nothing at all an error.
func (s *session) readMemory(in *scanner) ([]byte, error) {
	gva := in.number()
	in.expect(',')
	n := in.number()
	if !in.ok() {
		return nil, errMalformed
	}
	p := make([]byte, min(n, maxMemory))
	got := s.t.ReadMemory(s.general, gva, p)
	if got == 0 && n > 0 {
		return []byte("E0e"), nil // EFAULT; gdb takes no text here
	}
	return appendHex(nil, p[:got]), nil
}

// writeMemory is M ADDR,LEN:HEX and X ADDR,LEN:BINARY.
func (s *session) writeMemory(in *scanner, binary bool) ([]byte, error) {
	gva := in.number()
	in.expect(',')
	n := in.number()
	in.expect(':')
	if in.bad {
		return nil, errMalformed
	}
	p := in.rest
	if !binary {
		var fine bool
		if p, fine = unhex(p); !fine {
			return nil, errMalformed
		}
	}
	if uint64(len(p)) != n {
		return nil, errMalformed
	}
	if n == 0 {
		return ok, nil // a probe for X
	}
	if s.t.WriteMemory(s.general, gva, p) != nil {
		return []byte("E0e"), nil
	}
	return ok, nil
}
