package gdb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
)

// PacketSize is the largest packet, in bytes, in both directions.
const PacketSize = 0x20000

// interrupt is Ctrl-C, which gdb sends outside packets.
const interruptByte = 0x03

// packet is what gdb sent: a payload, or the wish to stop the guest.
type packet struct {
	payload   []byte
	interrupt bool
}

// errTooLong ends a connection whose other end does not keep to PacketSize.
var errTooLong = errors.New("a packet longer than was agreed")

// link frames packets on a connection ("Overview" in the GDB manual's appendix on the remote protocol). One goroutine
// reads, one writes.
type link struct {
	r *bufio.Reader
	w io.Writer

	mu   sync.Mutex // writing
	acks bool       // until QStartNoAckMode
	last []byte     // the last reply as sent, for a gdb that did not understand it
}

func newLink(c io.ReadWriter) *link {
	return &link{r: bufio.NewReaderSize(c, 16<<10), w: c, acks: true}
}

// read answers the next packet. What lies between packets is noise, and a packet with a wrong sum is asked for again.
func (l *link) read() (packet, error) {
	for {
		b, err := l.r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		switch b {
		case interruptByte:
			return packet{interrupt: true}, nil
		case '-':
			if err := l.again(); err != nil {
				return packet{}, err
			}
		case '$':
			payload, ok, err := l.body()
			if err != nil {
				return packet{}, err
			}
			if err := l.acknowledge(ok); err != nil {
				return packet{}, err
			}
			if ok {
				return packet{payload: payload}, nil
			}
		}
	}
}

// body reads from behind the $ to the sum, unescaped.
func (l *link) body() (payload []byte, ok bool, err error) {
	var sum byte
	var escaped bool
	for {
		b, err := l.r.ReadByte()
		if err != nil {
			return nil, false, err
		}
		if b == '#' {
			break
		}
		sum += b
		switch {
		case escaped:
			payload, escaped = append(payload, b^0x20), false
		case b == '}':
			escaped = true
		default:
			payload = append(payload, b)
		}
		if len(payload) > PacketSize {
			return nil, false, errTooLong
		}
	}
	var text [2]byte
	if _, err := io.ReadFull(l.r, text[:]); err != nil {
		return nil, false, err
	}
	want, valid := hexByte(text[0], text[1])
	return payload, valid && !escaped && want == sum, nil
}

func (l *link) acknowledge(ok bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.acks {
		return nil
	}
	answer := "+"
	if !ok {
		answer = "-"
	}
	_, err := io.WriteString(l.w, answer)
	return err
}

func (l *link) again() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.acks || l.last == nil {
		return nil
	}
	_, err := l.w.Write(l.last)
	return err
}

// noAcks is QStartNoAckMode, once its OK is sent.
func (l *link) noAcks() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acks, l.last = false, nil
}

// write sends a packet.
func (l *link) write(payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := make([]byte, 0, len(payload)+16)
	b = append(b, '$')
	for _, c := range payload {
		if c == '$' || c == '#' || c == '}' || c == '*' {
			b = append(b, '}', c^0x20)
		} else {
			b = append(b, c)
		}
	}
	var sum byte
	for _, c := range b[1:] {
		sum += c
	}
	b = fmt.Appendf(b, "#%02x", sum)
	if l.acks {
		l.last = b
	}
	_, err := l.w.Write(b)
	return err
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func hexByte(a, b byte) (byte, bool) {
	x, ok1 := hexDigit(a)
	y, ok2 := hexDigit(b)
	return x<<4 | y, ok1 && ok2
}

// unhex decodes pairs of digits.
func unhex(s []byte) ([]byte, bool) {
	if len(s)%2 != 0 {
		return nil, false
	}
	out := make([]byte, len(s)/2)
	for i := range out {
		b, ok := hexByte(s[2*i], s[2*i+1])
		if !ok {
			return nil, false
		}
		out[i] = b
	}
	return out, true
}

const digits = "0123456789abcdef"

func appendHex(b, data []byte) []byte {
	for _, c := range data {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

// scanner takes fields off a packet. After the first thing that does not fit, everything fails.
type scanner struct {
	rest []byte
	bad  bool
}

// number is a hexadecimal number of at most 16 digits, and at least one.
func (s *scanner) number() uint64 {
	var n uint64
	i := 0
	for ; i < len(s.rest); i++ {
		d, ok := hexDigit(s.rest[i])
		if !ok {
			break
		}
		if i == 16 {
			s.bad = true
			return 0
		}
		n = n<<4 | uint64(d)
	}
	if i == 0 {
		s.bad = true
	}
	s.rest = s.rest[i:]
	return n
}

// expect takes c.
func (s *scanner) expect(c byte) {
	if !s.accept(c) {
		s.bad = true
	}
}

// accept takes c if it comes next.
func (s *scanner) accept(c byte) bool {
	if s.bad || len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// bytes takes n bytes.
func (s *scanner) bytes(n uint64) []byte {
	if s.bad || n > uint64(len(s.rest)) {
		s.bad = true
		return nil
	}
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b
}

// thread is a thread id: a number, -1 for all, 0 for any; also as "pPROCESS.THREAD".
func (s *scanner) thread() int {
	if s.accept('p') {
		s.number()
		if !s.accept('.') {
			return allThreads
		}
	}
	if s.accept('-') {
		s.expect('1')
		return allThreads
	}
	n := s.number()
	if n > 1<<30 {
		s.bad = true
		return 0
	}
	return int(n)
}

// ok says whether everything fitted and nothing is left.
func (s *scanner) ok() bool { return !s.bad && len(s.rest) == 0 }

const allThreads = -1
