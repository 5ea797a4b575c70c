// Package console holds what both sides of a virtio console agree on (virtio 1.2, section
// 5.3), and the ports of Ringo's own console (docs/architecture.md).
package console

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Features, as masks.
const (
	FeatureSize      = 1 << 0
	FeatureMultiport = 1 << 1
	FeatureEmergency = 1 << 2
)

// Ringo's ports.
const (
	PortConsole = 0 // the terminal
	PortCommand = 1 // internal/command messages
	PortStdio   = 2 // device to guest: standard input; guest to device: standard output
	PortStderr  = 3 // guest to device: standard error
	PortLog     = 4 // guest to device: kernel messages
	NumPorts    = 5
)

// PortNames by port number.
var PortNames = [NumPorts]string{"ringo.console", "ringo.command", "ringo.stdio", "ringo.stderr", "ringo.log"}

// OutputOnly says that a port carries nothing to the guest.
func OutputOnly(port int) bool { return port == PortStderr || port == PortLog }

// Queue numbers: a receive queue (device to guest) and a transmit queue (guest to device)
// a port, and a pair for control messages behind port 0's.
const (
	QueueControlRx = 2
	QueueControlTx = 3
)

// RxQueue and TxQueue are the queues of a port.
func RxQueue(port int) int {
	if port == 0 {
		return 0
	}
	return 2*port + 2
}

// TxQueue is the queue that carries a port's bytes from the guest.
func TxQueue(port int) int { return RxQueue(port) + 1 }

// NumQueues is the number of queues of a console with ports ports.
func NumQueues(ports int) int { return 2*ports + 2 }

// Configuration space: u16 columns, u16 rows, u32 max_nr_ports, u32 emerg_wr.
const (
	ConfigCols     = 0
	ConfigRows     = 2
	ConfigMaxPorts = 4
	ConfigSize     = 12
)

// Event is a control message's verb.
type Event uint16

// Control events. G: sent by the guest, D: by the device.
const (
	EventDeviceReady Event = 0 // G: value 1: the driver is up
	EventPortAdd     Event = 1 // D
	EventPortRemove  Event = 2 // D
	EventPortReady   Event = 3 // G: value 1: the driver knows the port
	EventConsolePort Event = 4 // D: value 1: the port is a terminal
	EventResize      Event = 5 // D
	EventPortOpen    Event = 6 // both: value 1 opened, 0 closed
	EventPortName    Event = 7 // D: the name follows
)

// ControlSize is the size of a control message without what follows it.
const ControlSize = 8

// MaxName is the longest port name that either side here sends or takes, in bytes.
const MaxName = 64

// Control is a control message.
type Control struct {
	Port  uint32
	Event Event
	Value uint16
	Name  string // EventPortName only
}

// ErrShort: a control message of fewer than ControlSize bytes.
var ErrShort = errors.New("console control message is too short")

// Append appends the message's bytes to p.
func (c Control) Append(p []byte) []byte {
	p = binary.LittleEndian.AppendUint32(p, c.Port)
	p = binary.LittleEndian.AppendUint16(p, uint16(c.Event))
	p = binary.LittleEndian.AppendUint16(p, c.Value)
	return append(p, c.Name...)
}

// ParseControl reads a message. A name ends at its first NUL, if any, and at MaxName.
func ParseControl(p []byte) (Control, error) {
	if len(p) < ControlSize {
		return Control{}, fmt.Errorf("%w: %d bytes", ErrShort, len(p))
	}
	c := Control{
		Port:  binary.LittleEndian.Uint32(p),
		Event: Event(binary.LittleEndian.Uint16(p[4:])),
		Value: binary.LittleEndian.Uint16(p[6:]),
	}
	if c.Event == EventPortName {
		name := p[ControlSize:min(len(p), ControlSize+MaxName)]
		for i, b := range name {
			if b == 0 {
				name = name[:i]
				break
			}
		}
		c.Name = string(name)
	}
	return c, nil
}
