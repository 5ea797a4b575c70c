package tty

import (
	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// Receive takes input from the line and answers how much of it: less than all when the buffer is full.
func (t *Terminal) Receive(b []byte) int {
	t.mu.Lock()
	defer t.unlock()
	if t.gone {
		return len(b)
	}
	n := 0
	for n < len(b) && t.roomLocked() {
		t.receiveLocked(b[n])
		n++
	}
	if n > 0 && t.timing && !t.expired {
		t.timer.Stop() // the time between bytes starts anew with the next look
		t.timing = false
		t.queue.Notify(wait.In | wait.RdNorm)
	}
	t.flushLocked()
	return n
}

// Room reports whether Receive would take something.
func (t *Terminal) Room() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone || t.roomLocked()
}

// roomLocked: while a line is being edited its end, signals and editing must get through.
func (t *Terminal) roomLocked() bool {
	n := 0
	for _, l := range t.lines {
		n += len(l.data) + 1
	}
	if !t.termios.local(unix.ICANON) {
		n += len(t.edit)
	}
	return n < maxInput
}

// receiveLocked mirrors n_tty_receive_char: one character through all the settings.
func (t *Terminal) receiveLocked(c byte) {
	s := &t.termios
	if s.input(unix.ISTRIP) {
		c &= 0x7f
	}
	if s.input(unix.IUCLC) && s.local(unix.IEXTEN) && c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	if t.literal {
		t.literal = false
		t.storeLocked(c)
		return
	}
	if s.input(unix.IXON) {
		switch {
		case s.is(c, unix.VSTART):
			t.resumeLocked()
			return
		case s.is(c, unix.VSTOP):
			t.stopLocked()
			return
		}
		if t.stopped && s.input(unix.IXANY) {
			t.resumeLocked()
		}
	}
	if s.local(unix.ISIG) {
		for _, k := range []struct {
			special int
			sig     unix.Signal
		}{{unix.VINTR, unix.SIGINT}, {unix.VQUIT, unix.SIGQUIT}, {unix.VSUSP, unix.SIGTSTP}} {
			if s.is(c, k.special) {
				t.interruptLocked(c, k.sig)
				return
			}
		}
	}
	switch {
	case c == '\r' && s.input(unix.IGNCR):
		return
	case c == '\r' && s.input(unix.ICRNL):
		if c = '\n'; !s.local(unix.ICANON) {
			t.addLocked(c, t.putLocked) // shown as a new line, whereas a typed '\n' is shown as ^J
			return
		}
	case c == '\n' && s.input(unix.INLCR):
		c = '\r'
	}
	if s.local(unix.ICANON) {
		t.canonicalLocked(c)
		return
	}
	t.storeLocked(c)
}

// interruptLocked is a character that sends a signal.
func (t *Terminal) interruptLocked(c byte, sig unix.Signal) {
	if !t.termios.local(unix.NOFLSH) {
		t.lines, t.edit = nil, t.edit[:0]
		t.out = t.out[:0]
	}
	t.resumeLocked()
	if t.termios.local(unix.ECHO) {
		t.echoLocked(c)
	}
	t.due = append(t.due, signal{t.foreground, sig})
}

// canonicalLocked is line editing.
func (t *Terminal) canonicalLocked(c byte) {
	s := &t.termios
	extended := s.local(unix.IEXTEN)
	switch {
	case s.is(c, unix.VERASE), s.is(c, unix.VKILL), extended && s.is(c, unix.VWERASE):
		t.eraseLocked(c)
	case extended && s.is(c, unix.VLNEXT):
		t.literal = true
		if s.local(unix.ECHO) && s.local(unix.ECHOCTL) {
			t.putLocked('^')
			t.putLocked('\b')
		}
	case extended && s.local(unix.ECHO) && s.is(c, unix.VREPRINT):
		t.echoLocked(c)
		t.putLocked('\n')
		t.start = t.column
		for _, e := range t.edit {
			t.echoLocked(e)
		}
	case c == '\n':
		if s.local(unix.ECHO) || s.local(unix.ECHONL) {
			t.putLocked('\n')
		}
		t.completeLocked(append(t.edit, c), false)
	case s.is(c, unix.VEOF):
		t.completeLocked(t.edit, true)
	case s.is(c, unix.VEOL), extended && s.is(c, unix.VEOL2):
		if s.local(unix.ECHO) {
			t.echoLocked(c)
		}
		t.completeLocked(append(t.edit, c), false)
	default:
		t.storeLocked(c)
	}
}

// storeLocked adds an ordinary character.
func (t *Terminal) storeLocked(c byte) { t.addLocked(c, t.echoLocked) }

func (t *Terminal) addLocked(c byte, echo func(byte)) {
	canonical := t.termios.local(unix.ICANON)
	if canonical && len(t.edit) >= maxLine {
		if t.termios.input(unix.IMAXBEL) {
			t.putLocked('\a')
		}
		return
	}
	if t.termios.local(unix.ECHO) {
		if len(t.edit) == 0 {
			t.start = t.column
		}
		echo(c)
	}
	t.edit = append(t.edit, c)
	if !canonical {
		t.queue.Notify(wait.In | wait.RdNorm)
	}
}

// completeLocked ends the line being edited.
func (t *Terminal) completeLocked(data []byte, eof bool) {
	t.lines = append(t.lines, inputLine{append([]byte(nil), data...), eof})
	t.edit = t.edit[:0]
	t.queue.Notify(wait.In | wait.RdNorm)
}

// eraseLocked takes characters back: one, a word, or the line.
func (t *Terminal) eraseLocked(c byte) {
	s := &t.termios
	if len(t.edit) == 0 {
		return
	}
	echo := s.local(unix.ECHO)
	kill := s.is(c, unix.VKILL)
	if kill && !(echo && s.local(unix.ECHOK) && s.local(unix.ECHOKE) && s.local(unix.ECHOE)) {
		t.edit = t.edit[:0]
		if echo {
			t.echoLocked(c)
			if s.local(unix.ECHOK) {
				t.putLocked('\n')
			}
		}
		return
	}
	word := !kill && s.local(unix.IEXTEN) && s.is(c, unix.VWERASE) && !s.is(c, unix.VERASE)
	seen := false // a character of the word
	for len(t.edit) > 0 {
		n := len(t.edit) - 1
		if s.input(unix.IUTF8) {
			for n > 0 && t.edit[n]&0xc0 == 0x80 {
				n--
			}
			if t.edit[n]&0xc0 == 0x80 {
				return // no part of a character is erased
			}
		}
		last := t.edit[n]
		if word {
			if wordPart(last) {
				seen = true
			} else if seen {
				return
			}
		}
		t.edit = t.edit[:n]
		if echo {
			if !kill && !word && !s.local(unix.ECHOE) {
				t.echoLocked(c)
			} else {
				t.wipeLocked(last)
			}
		}
		if !word && !kill {
			return
		}
	}
}

// wordPart reports what VWERASE takes for part of a word: letters are those of Latin-1, as in the kernel's ctype.
func wordPart(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0xc0 && c != 0xd7 && c != 0xf7
}

// wipeLocked shows that the character last is gone.
func (t *Terminal) wipeLocked(last byte) {
	s := &t.termios
	switch {
	case last == '\t':
		// Back over the columns that the tab took: those before it count from the tab before, or from the start of the line.
		col, afterTab := 0, false
		for i := len(t.edit) - 1; i >= 0 && !afterTab; i-- {
			switch e := t.edit[i]; {
			case e == '\t':
				afterTab = true
			case control(e):
				if s.local(unix.ECHOCTL) {
					col += 2
				}
			case !s.continues(e):
				col++
			}
		}
		if !afterTab {
			col += t.start
		}
		for range tabWidth - col%tabWidth {
			t.out = append(t.out, '\b')
			t.column = max(0, t.column-1)
		}
	default:
		width := 1
		if control(last) {
			if width = 0; s.local(unix.ECHOCTL) {
				width = 2
			}
		}
		for range width {
			t.putLocked('\b')
			t.putLocked(' ')
			t.putLocked('\b')
		}
	}
}

func control(c byte) bool { return c < ' ' || c == 127 }

// continues reports a byte within a UTF-8 character, with IUTF8.
func (s *Termios) continues(c byte) bool { return s.input(unix.IUTF8) && c&0xc0 == 0x80 }
