package tmpfs

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
)

// Register makes "tmpfs" and "ramfs" known to mount(2). Unless a mount says otherwise a tmpfs takes at most half of the pages of memory and as
// many inodes (tmpfs(5)).
func Register(frames vfs.Frames, devices *vfs.Devices, pages func() int64) {
	mount := func(limited bool) func(vfs.Caller, string, string) (*vfs.Superblock, error) {
		return func(_ vfs.Caller, _, data string) (*vfs.Superblock, error) {
			o := Options{Frames: frames, Devices: devices, Total: pages()}
			if limited {
				o.Pages, o.Inodes = pages()/2, pages()/2
			} else {
				o.Mode, o.Type = 0o755, "ramfs"
			}
			if err := o.parse(data, pages()); err != nil {
				return nil, err
			}
			return New(o), nil
		}
	}
	vfs.RegisterType(vfs.Type{Name: "tmpfs", NoDev: true, User: true, New: mount(true)})
	vfs.RegisterType(vfs.Type{Name: "ramfs", NoDev: true, User: true, New: mount(false)})
}

// parse reads mount options; total is the machine's memory in pages.
func (o *Options) parse(data string, total int64) error {
	if data == "" {
		return nil
	}
	for _, option := range strings.Split(data, ",") {
		name, value, _ := strings.Cut(option, "=")
		var err error
		switch name {
		case "":
		case "size":
			var n int64
			if percent, ok := strings.CutSuffix(value, "%"); ok {
				n, err = strconv.ParseInt(percent, 10, 32)
				n = total * n / 100
			} else if n, err = parseSize(value); err == nil {
				n = (n + vfs.PageSize - 1) / vfs.PageSize
			}
			o.Pages, o.ShowSize = n, true
		case "nr_blocks":
			o.Pages, err = parseSize(value)
			o.ShowSize = true
		case "nr_inodes":
			o.Inodes, err = parseSize(value)
			o.ShowInodes = true
		case "mode":
			var n uint64
			n, err = strconv.ParseUint(value, 8, 12)
			o.Mode = uint32(n)
		case "uid":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			o.UID = uint32(n)
		case "gid":
			var n uint64
			n, err = strconv.ParseUint(value, 10, 32)
			o.GID = uint32(n)
		case "huge", "mpol", "inode64", "inode32", "noswap":
		default:
			return unix.EINVAL
		}
		if err != nil {
			return unix.EINVAL
		}
	}
	return nil
}

// parseSize reads a number with an optional k, m, g or t (memparse).
func parseSize(s string) (int64, error) {
	shift := 0
	if n := len(s); n > 0 {
		if i := strings.IndexByte("kmgt", s[n-1]|0x20); i >= 0 {
			shift, s = 10*(i+1), s[:n-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, unix.EINVAL
	}
	return n << shift, nil
}
