package boot

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/devtmpfs"
	"ringo/guestkernel/fs/initramfs"
	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/vfs"
)

// RootConfig is what the file tree is made of.
type RootConfig struct {
	Frames  vfs.Frames
	Archive []byte       // initramfs; stays referenced
	Random  func([]byte) // fills /dev/random's buffers
	Log     func([]byte) // takes /dev/kmsg
	Nodes   []devtmpfs.Node
	Devices *vfs.Devices // the memory devices are added
	Pages   int64        // how many pages files may take beside the archive's; 0: all
}

// NewRoot makes the tree: a tmpfs with the initramfs unpacked in it, and /dev. Mount points that the archive lacks are made.
func NewRoot(c RootConfig) (*vfs.Namespace, error) {
	if c.Devices == nil {
		c.Devices = vfs.NewDevices()
	}
	devtmpfs.RegisterMemory(c.Devices, c.Random, c.Log)
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: c.Frames, Devices: c.Devices, Mode: 0o755, Type: "rootfs"}), "rootfs", 0)
	caller := vfs.NewKernelCaller(ns.Root())
	defer caller.Close()
	if _, err := initramfs.Unpack(caller, c.Archive); err != nil {
		return nil, err
	}
	at := vfs.AtCwd(caller)
	for _, dir := range []string{"dev", "proc", "sys", "tmp"} {
		mode := uint32(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		if err := vfs.Mkdir(caller, at, dir, mode); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("making /%s: %w", dir, err)
		}
	}
	dev, err := devtmpfs.New(devtmpfs.Options{Frames: c.Frames, Devices: c.Devices, Nodes: c.Nodes})
	if err != nil {
		return nil, fmt.Errorf("filling /dev: %w", err)
	}
	if c.Pages > 0 {
		ns.Root().Mount.Superblock().FS.(*tmpfs.FS).SetLimit(c.Pages)
	}
	p, err := vfs.Lookup(caller, at, "dev", vfs.Follow)
	if err != nil {
		return nil, fmt.Errorf("/dev: %w", err)
	}
	if _, err := vfs.MountAt(dev, "devtmpfs", 0, p); err != nil {
		return nil, fmt.Errorf("mounting /dev: %w", err)
	}
	return ns, nil
}
