package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFramesSurviveTheTrip(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	frames := []Frame{
		{KindStdin, []byte("hello\x00\xff")},
		{KindStdout, nil},
		{KindStderr, bytes.Repeat([]byte{7}, MaxData)},
		{KindExit, []byte(`{"Status":3}`)},
	}
	for _, f := range frames {
		if err := w.Write(f.Kind, f.Payload); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&b)
	for i, want := range frames {
		got, err := r.Read()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if got.Kind != want.Kind || !bytes.Equal(got.Payload, want.Payload) {
			t.Errorf("frame %d: got %v of %d bytes, want %v of %d", i, got.Kind, len(got.Payload), want.Kind, len(want.Payload))
		}
	}
	if _, err := r.Read(); err != io.EOF {
		t.Errorf("after the last frame: %v, want EOF", err)
	}
}

func TestReaderRefusesBadInput(t *testing.T) {
	for _, c := range []struct {
		name, input string
		want        error
	}{
		{"truncated header", "\x02\x00", io.ErrUnexpectedEOF},
		{"no payload", "\x02\x00\x00\x04", io.ErrUnexpectedEOF},
		{"truncated payload", "\x02\x00\x00\x04ab", io.ErrUnexpectedEOF},
		{"data frame beyond the limit", "\x02\x01\x00\x01", ErrProtocol},
		{"control frame beyond the limit", "\x01\xff\xff\xff", ErrProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := NewReader(strings.NewReader(c.input)).Read(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestControlPayloads(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := errors.Join(w.EOF(KindStderr), w.Credit(KindStdout, 70000), w.Signal(15), w.Resize(50, 132)); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&b)
	next := func() []byte {
		f, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		return f.Payload
	}
	if k, err := ParseEOF(next()); k != KindStderr || err != nil {
		t.Errorf("eof: %v, %v", k, err)
	}
	if k, n, err := ParseCredit(next()); k != KindStdout || n != 70000 || err != nil {
		t.Errorf("credit: %v, %d, %v", k, n, err)
	}
	if n, err := ParseSignal(next()); n != 15 || err != nil {
		t.Errorf("signal: %d, %v", n, err)
	}
	if rows, columns, err := ParseResize(next()); rows != 50 || columns != 132 || err != nil {
		t.Errorf("resize: %d, %d, %v", rows, columns, err)
	}
	for name, err := range map[string]error{
		"eof":    second(ParseEOF(nil)),
		"signal": second(ParseSignal([]byte{65})),
		"zero":   second(ParseSignal([]byte{0})),
	} {
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("bad %s: %v, want a protocol error", name, err)
		}
	}
	if _, _, err := ParseCredit([]byte{1}); !errors.Is(err, ErrProtocol) {
		t.Errorf("bad credit: %v", err)
	}
	if _, _, err := ParseResize([]byte{1}); !errors.Is(err, ErrProtocol) {
		t.Errorf("bad resize: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// pair connects a sender and a receiver of one stream over a pipe, each end with a frame loop. end tells the receiver's
// loop, behind everything that was sent, that the stream ends.
func pair(t *testing.T) (sender *Sender, receiver *Receiver, end func()) {
	a, b := net.Pipe()
	var loops sync.WaitGroup
	t.Cleanup(func() {
		a.Close()
		b.Close()
		loops.Wait()
	})
	w := NewWriter(a)
	sender, receiver = NewSender(w, KindStdin), NewReceiver(NewWriter(b), KindStdin)
	loops.Go(func() {
		for r := NewReader(b); ; {
			f, err := r.Read()
			if err != nil {
				receiver.End()
				return
			}
			if len(f.Payload) == 0 {
				receiver.End()
				continue
			}
			if err := receiver.Put(f.Payload); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		}
	})
	loops.Go(func() {
		for r := NewReader(a); ; {
			f, err := r.Read()
			if err != nil {
				sender.Close()
				return
			}
			_, n, err := ParseCredit(f.Payload)
			if err == nil {
				err = sender.Grant(n)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	return sender, receiver, func() {
		if err := w.Write(KindStdin, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestSenderWaitsForItsReader(t *testing.T) {
	sender, receiver, end := pair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), Window/4) // four windows
	done := make(chan error, 1)
	go func() {
		_, err := sender.Write(want)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("four windows were sent to a reader that took nothing (%v)", err)
	case <-time.After(50 * time.Millisecond):
	}
	var got bytes.Buffer
	copied := make(chan error, 1)
	go func() { copied <- receiver.Copy(&got) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	end()
	if err := <-copied; err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("received %d bytes of %d (%v)", got.Len(), len(want), err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReceiverDropsTheRestAfterItsWriterFailed(t *testing.T) {
	sender, receiver, _ := pair(t)
	go func() { _ = receiver.Copy(failingWriter{}) }()
	// Were the rest kept, this would wait for credit for ever.
	if n, err := sender.Write(make([]byte, 3*Window)); err != nil || n != 3*Window {
		t.Errorf("sent %d, %v", n, err)
	}
}

func TestCreditIsChecked(t *testing.T) {
	s := NewSender(NewWriter(io.Discard), KindStdin)
	if err := s.Grant(1); !errors.Is(err, ErrProtocol) {
		t.Errorf("credit for nothing sent: %v", err)
	}
	if _, err := s.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Grant(10); err != nil {
		t.Errorf("credit for what was sent: %v", err)
	}
	r := NewReceiver(NewWriter(io.Discard), KindStdin)
	if err := r.Put(make([]byte, Window)); err != nil {
		t.Fatal(err)
	}
	if err := r.Put([]byte{1}); !errors.Is(err, ErrProtocol) {
		t.Errorf("a byte beyond the window: %v", err)
	}
}

func TestClosedSenderFails(t *testing.T) {
	s := NewSender(NewWriter(io.Discard), KindStdout)
	done := make(chan error, 1)
	go func() {
		_, err := s.Write(make([]byte, 2*Window))
		done <- err
	}()
	s.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}
