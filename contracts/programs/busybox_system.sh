#!/bin/sh
# programs/busybox_system: BusyBox' applets for the system itself: mounts, processes, namespaces, names, priorities, file systems in files.
#
# Catches: mounts that are not listed or cannot be undone, namespaces that leak names, tables in /proc that tools cannot read.
#
# Timeout: 3m
t() { echo "== $1"; shift; eval "$@" 2>&1; echo "-- $?"; }
umask 022
export TZ=UTC LC_ALL=C

t mount 'mkdir m; mount -t tmpfs -o size=64k,mode=700 none m; grep -c " $PWD/m tmpfs" /proc/mounts; stat -c %a m; echo x > m/f; umount m; grep -c " $PWD/m " /proc/mounts; ls m'
t bind 'mkdir b1 b2; echo in > b1/f; mount --bind b1 b2; cat b2/f; mount -o remount,ro,bind b2; echo y > b2/f; umount b2; ls b2'
t busy 'mount -t tmpfs none m; (cd m; umount ../m 2>/dev/null; echo $?); umount m; umount m'
t full 'mount -t tmpfs -o size=8k none m; dd if=/dev/zero of=m/z bs=1k count=100 2>&1 | tail -1 | cut -d" " -f1-2; ls -l m/z | awk "{print \$5}"; umount m'
t df 'df m > /dev/null; echo $?; df nothing; mount -t tmpfs -o size=1m none m; df -k m | tail -1 | awk "{print \$2, \$3}"; umount m'
t noexec 'mount -t tmpfs -o noexec none m; cp /bin/busybox m/true; m/true; echo $?; test -x m/true; echo $?; umount m'
t hostname 'hostname; cat /proc/sys/kernel/hostname; hostname -s'
t unshare 'unshare -u sh -c "hostname inside; hostname; uname -n"; hostname; unshare -m sh -c "mount -t tmpfs none m; grep -c /m.tmpfs /proc/mounts"; grep -c /m.tmpfs /proc/mounts'
t unshare_pid 'unshare -p -f sh -c "echo \$\$; sh -c \"echo \\\$\\\$\""'
t nsenter 'unshare -u sh -c "hostname other; echo \$\$ > pid; read x < go" & mkfifo go; i=0; while [ ! -s pid ] && [ $i -lt 1000 ]; do usleep 1000; i=$((i+1)); done; nsenter -t $(cat pid) -u hostname; echo > go; wait; rm pid go'
t chroot 'mkdir -p c/bin; cp /bin/busybox c/bin; ln -s busybox c/bin/sh; ln -s busybox c/bin/ls; chroot c /bin/sh -c "cd /; echo *; ls /bin"; chroot nothing /bin/sh'
t sysctl 'sysctl -n kernel.ostype; sysctl nothing.there; sysctl kernel.ostype'
t renice 'renice 3 $$ > /dev/null; cut -d" " -f19 /proc/$$/stat; ionice -c 3 sh -c "ionice | cut -d: -f1"'
t taskset 'taskset 1 sh -c "taskset -p \$\$" | sed "s/[0-9][0-9]*/N/"; taskset 0 true'
t limits 'ulimit -c 0; ulimit -c; (ulimit -s 1024; ulimit -s); (ulimit -u 50; ulimit -u); (ulimit -n 20; ulimit -n; grep "open files" /proc/self/limits | tr -s " ")'
t users 'su nobody -s /bin/sh -c "id -un; grep -c Uid.*65534 /proc/self/status; kill -0 1"; login -f nosuch 2>/dev/null < /dev/null | head -0; nologin | head -1; groups'
t setpriv 'setpriv --nnp sh -c "grep NoNewPrivs /proc/self/status" | tr "\t" " "'
t ps 'sleep 30 & p=$!; i=0; while [ "$(cat /proc/$p/comm)" != sleep ] && [ $i -lt 1000 ]; do usleep 1000; i=$((i+1)); done; ps -o pid,args | grep "^ *$p " | awk "{print \$2, \$3}"; { kill $p; wait $p; } 2>/dev/null; ps -o pid | grep -c "^ *$p\$"'
t top 'top -b -n 1 | head -1 | cut -d: -f1; uptime | grep -c "load average"; free | head -1 | tr -s " "'
t daemon 'start-stop-daemon -S -b -m -p pidfile -x /bin/sleep -- 32; i=0; while ! [ -s pidfile ] && [ $i -lt 1000 ]; do usleep 1000; i=$((i+1)); done; start-stop-daemon -K -p pidfile 2>&1 | sed "s/pid [0-9]*/pid N/"'
t setsid 'setsid sh -c "ps -o pid,sid | grep \" *\$\$ \" | awk \"{print (\\\$1 == \\\$2)}\"" | head -1'
t link 'echo l > l1; link l1 l2; stat -c %h l2; unlink l1; cat l2; unlink nothing; echo secret > s1; shred -u s1; ls s1'
t filesystems 'dd if=/dev/zero of=img bs=1k count=256 2>/dev/null; mkswap img | sed "s/UUID.*//; s/size = .*/size/"; mke2fs -F img > /dev/null; od -An -tx2 -j 1080 -N 2 img; mkdosfs img > /dev/null; od -An -c -j 54 -N 5 img; fdisk -l img 2>/dev/null | wc -l; findfs LABEL=nothing; blockdev --getsz img'
t loop 'losetup -f > /dev/null 2>&1; losetup /dev/nosuchloop img > /dev/null 2>&1; echo tried'
t crypt 'echo pw | mkpasswd -s -m md5 -S saltsalt'
t archive 'mkdir a; echo one > a/1; seq 500 > a/2; tar cf - a | gzip -9 | zcat | tar tf - | sort; tar cf - a | bzip2 | tar xjf - -O a/1; lzop < a/2 | lzop -d | cmp - a/2; find a | cpio -o -H newc 2>/dev/null | cpio -t 2>/dev/null | wc -l; uncompress nothing; unlzma < /dev/null; lzcat < /dev/null; xz -d < /dev/null'
t dpkg 'mkdir -p d/DEBIAN; printf "Package: x\nVersion: 1\n" > d/DEBIAN/control; dpkg-deb -b d x.deb 2>&1 | head -0; dpkg -l nosuch 2>&1 | head -0; rpm -q nosuch 2>&1 | head -0; echo done'
t linux32 'linux64 uname -s; linux32 true; dnsdomainname > /dev/null 2>&1; echo named'
t kernel 'dmesg | head -1 > /dev/null; lsmod > /dev/null 2>&1; modinfo nosuch 2>/dev/null | head -0; brctl show > /dev/null 2>&1; logger -s said 2>&1 | grep -c said; logread 2>&1 | head -1'
t who 'who; last > /dev/null 2>&1; w > /dev/null; logname 2>/dev/null | head -0; echo asked'
t watch '{ timeout 1 watch -t -n 5 echo watched < /dev/null; } 2>/dev/null | tr -d "\033" | grep -o watched | head -1'
t vi 'echo start > v; { printf "i" | timeout 1 vi v > /dev/null 2>&1; } 2>/dev/null; cat v'
t sync 'echo x > s; sync s; fstrim nothing; fatattr s 2>/dev/null; echo synced'
t script 'echo "echo from a file" > run.sh; ash run.sh; sh -x run.sh; sh -n run.sh; echo "exit 9" | ash'
t terminal 'resize < /dev/null > /dev/null 2>&1; reset < /dev/null > /dev/null 2>&1; clear | od -An -c | wc -l; chvt 1 > /dev/null 2>&1; loadfont < /dev/null > /dev/null 2>&1; setsid tty < /dev/null'
t nuke 'mkdir -p n/n; echo > n/n/f; nuke n; ls -d n; ubirename 2>/dev/null | head -0'
echo CONTRACT_PASS
