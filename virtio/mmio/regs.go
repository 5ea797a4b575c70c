// Package mmio is the virtio transport over memory-mapped registers (virtio 1.2, section
// 4.2, version 2): the register layout, the device's end (Transport, for the monitor) and
// the driver's end (Guest, for the kernel).
//
// A window is WindowSize bytes. Registers are 32 bits wide and little-endian; the device's
// configuration space starts at offset Config and may be read in any width. Whatever else a
// guest does to the window is harmless: it reads as zero and changes nothing.
//
// Interrupts are edges: the device triggers one whenever it has something new to say,
// whether or not the last one was acknowledged, so a driver may skip InterruptStatus.
package mmio

// WindowSize is the size in bytes of a device's register window.
const WindowSize = 0x1000

// Register offsets (virtio 1.2, table 4.1). R: readable, W: writable by the driver.
const (
	RegMagic             = 0x000 // R
	RegVersion           = 0x004 // R
	RegDeviceID          = 0x008 // R
	RegVendorID          = 0x00c // R
	RegDeviceFeatures    = 0x010 // R
	RegDeviceFeaturesSel = 0x014 // W
	RegDriverFeatures    = 0x020 // W
	RegDriverFeaturesSel = 0x024 // W
	RegQueueSel          = 0x030 // W
	RegQueueNumMax       = 0x034 // R
	RegQueueNum          = 0x038 // W
	RegQueueReady        = 0x044 // RW
	RegQueueNotify       = 0x050 // W
	RegInterruptStatus   = 0x060 // R
	RegInterruptACK      = 0x064 // W
	RegStatus            = 0x070 // RW
	RegQueueDescLow      = 0x080 // W
	RegQueueDescHigh     = 0x084 // W
	RegQueueDriverLow    = 0x090 // W: the available ring
	RegQueueDriverHigh   = 0x094 // W
	RegQueueDeviceLow    = 0x0a0 // W: the used ring
	RegQueueDeviceHigh   = 0x0a4 // W
	RegSHMSel            = 0x0ac // W
	RegSHMLenLow         = 0x0b0 // R: all-ones, there is no shared memory
	RegSHMLenHigh        = 0x0b4 // R
	RegSHMBaseLow        = 0x0b8 // R
	RegSHMBaseHigh       = 0x0bc // R
	RegConfigGeneration  = 0x0fc // R
	Config               = 0x100
)

// Values of the identifying registers.
const (
	Magic   = 0x74726976 // "virt"
	Version = 2
	Vendor  = 0x474e4952 // "RING"
)

// Device IDs (virtio 1.2, section 5).
const (
	IDNet     = 1
	IDBlock   = 2
	IDConsole = 3
	IDEntropy = 4
	ID9P      = 9
	IDVsock   = 19
)

// Bits of the Status register (virtio 1.2, section 2.1).
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)

// Bits of InterruptStatus.
const (
	InterruptQueue  = 1 // a queue has used buffers
	InterruptConfig = 2 // the configuration or the status has changed
)
