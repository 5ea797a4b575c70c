package procfs

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/net/afunix"
	"ringo/guestkernel/net/inet"
	"ringo/guestkernel/net/socket"
	"ringo/guestkernel/vfs"
)

// net is /proc/PID/net: sockets and devices, which are the same for all processes.
func (p process) net(m *maker) []entry {
	own := &maker{fs: p.fs, base: m.base + inoSpan/8}
	show := func(name string, f func() []byte) entry {
		return own.text(name, 0o444, func(vfs.Caller) ([]byte, error) { return f(), nil }, nil)
	}
	sockets := func(name string, domain, typ, protocol int) entry {
		return show(name, func() []byte { return inet.ProcSockets(domain, typ, protocol) })
	}
	return []entry{
		show("dev", inet.ProcDev),
		show("if_inet6", inet.ProcIfInet6),
		sockets("raw", unix.AF_INET, unix.SOCK_RAW, 0),
		sockets("raw6", unix.AF_INET6, unix.SOCK_RAW, 0),
		show("route", inet.ProcRoute),
		sockets("tcp", unix.AF_INET, unix.SOCK_STREAM, 0),
		sockets("tcp6", unix.AF_INET6, unix.SOCK_STREAM, 0),
		sockets("udp", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP),
		sockets("udp6", unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP),
		show("unix", func() []byte { return afunix.ProcNet(nil) }),
	}
}

// netSysctl is /proc/sys/net.
func (fs *FS) netSysctl(m *maker) entry {
	value := func(name string, v any) entry {
		return m.text(name, 0o444, plain(func() string { return fmt.Sprintf("%v\n", v) }), nil)
	}
	dir := func(name string, list ...entry) entry { return m.dir(name, 0o555, fixed(list...), nil, nil) }
	ping := m.text("ping_group_range", 0o644, plain(func() string {
		r := inet.PingGroups.Load()
		return fmt.Sprintf("%d\t%d\n", uint32(r>>32), uint32(r))
	}), func(_ vfs.Caller, data []byte) error {
		var low, high uint32
		if n, err := fmt.Sscan(strings.TrimRight(string(data), "\x00"), &low, &high); n != 2 || err != nil {
			return unix.EINVAL
		}
		if low > high {
			low, high = 1, 0
		}
		inet.PingGroups.Store(uint64(low)<<32 | uint64(high))
		return nil
	})
	conf := func(name string) entry { return dir(name, value("disable_ipv6", 0), value("forwarding", 0)) }
	return dir("net",
		dir("core", value("somaxconn", socket.MaxBacklog), value("rmem_default", socket.DefaultBuffer), value("rmem_max", socket.MaxBuffer),
			value("wmem_default", socket.DefaultBuffer), value("wmem_max", socket.MaxBuffer), value("optmem_max", 131072), value("netdev_max_backlog", 1000)),
		dir("ipv4", value("ip_local_port_range", "32768\t60999"), ping, value("ip_forward", 0), value("ip_default_ttl", 64),
			value("ip_unprivileged_port_start", 1024), value("ip_nonlocal_bind", 0), value("tcp_rmem", "4096\t131072\t6291456"),
			value("tcp_wmem", "4096\t16384\t4194304"), value("tcp_fin_timeout", 60), value("tcp_keepalive_time", 7200), value("tcp_keepalive_intvl", 75),
			value("tcp_keepalive_probes", 9), value("tcp_syn_retries", 6), value("tcp_timestamps", 1), value("tcp_sack", 1), value("tcp_fastopen", 1),
			value("tcp_congestion_control", "reno"), value("tcp_available_congestion_control", "reno cubic")),
		dir("ipv6", value("bindv6only", 0), dir("conf", conf("all"), conf("default"), conf("lo"))),
		dir("unix", value("max_dgram_qlen", afunix.MaxDatagrams)),
	)
}
