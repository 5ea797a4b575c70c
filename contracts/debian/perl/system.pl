#!/usr/bin/perl
# perl/system: fork, pipes, open to and from programs, signals, select, locks, sockets of a pair and files.
#
# Catches: what another language's runtime asks of the kernel: SIGCHLD handlers, restarted waits, flock, sysread across fork, opendir order.
#
# Root: debian
use strict;
use warnings;
use Errno;
use Fcntl qw(:flock :mode SEEK_SET O_RDWR O_CREAT O_EXCL);
use File::Copy;
use File::Find;
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempfile tempdir);
use IO::Handle;
use IO::Select;
use POSIX qw(:sys_wait_h :signal_h);
use Socket;
use Time::HiRes qw(usleep alarm time);
$| = 1;

print "perl on $^O\n";
print "backticks: ", `echo one; echo two | tr a-z A-Z`;
system("sh", "-c", "exit 6");
print "status: ", $? >> 8, "\n";
system("sh", "-c", "kill -15 \$\$");
print "signal: ", $? & 127, "\n";
print "missing: ", (system("/no/such/program") == -1 ? $!{ENOENT} ? "ENOENT" : "other" : "ran"), "\n";

open(my $to, "|-", "sort", "-n") or die;
print $to "$_\n" for (10, 9, 100, 1);
close $to;
open(my $from, "-|", "seq 1 5") or die;
print "from a program: ", join(",", map { chomp; $_ } <$from>), "\n";
close $from;

pipe(my $r, my $w) or die;
my @children;
for my $i (1 .. 10) {
    my $pid = fork // die;
    if (!$pid) { close $r; syswrite $w, sprintf("%04d", $i); POSIX::_exit($i) }
    push @children, $pid;
}
close $w;
my $sum = 0;
waitpid($_, 0) == $_ and $sum += $? >> 8 for @children;
my @said = sort map { my $b; sysread($r, $b, 4); $b } 1 .. 10;
print "children: $sum, said $said[0] to $said[9], then ", sysread($r, my $rest, 1), "\n";

my %count;
$SIG{USR1} = sub { $count{USR1}++ };
$SIG{ALRM} = sub { die "alarm\n" };
kill USR1 => $$ for 1 .. 3;
print "signals: $count{USR1}\n";
eval { alarm 0.05; select(undef, undef, undef, 60); };
print "interrupted: $@";
my $reaped = 0;
$SIG{CHLD} = sub { $reaped++ while waitpid(-1, WNOHANG) > 0 };
for (1 .. 5) { my $pid = fork // die; POSIX::_exit(0) unless $pid }
usleep 1000 while $reaped < 5;
print "reaped by the handler: $reaped\n";
$SIG{CHLD} = "DEFAULT";
my $set = POSIX::SigSet->new(SIGUSR1);
sigprocmask(SIG_BLOCK, $set);
kill USR1 => $$;
my $before = $count{USR1};
my $pending = POSIX::SigSet->new;
sigpending($pending);
print "pending: ", $pending->ismember(SIGUSR1), "\n";
sigprocmask(SIG_UNBLOCK, $set);
print "after unblocking: ", $count{USR1} - $before, "\n";

socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
my $pid = fork // die;
if (!$pid) {
    close $a;
    while (sysread($b, my $line, 100)) { syswrite $b, uc $line }
    POSIX::_exit(0);
}
close $b;
for my $word (qw(ping pong)) { syswrite $a, $word; sysread($a, my $answer, 100); print "echo: $answer\n" }
shutdown($a, 1);
print "closed: ", sysread($a, my $none, 1), "\n";
waitpid $pid, 0;

my $dir = tempdir("t.XXXXXX", CLEANUP => 1);
make_path("$dir/a/b/c");
for my $i (1 .. 30) { open my $f, ">", "$dir/a/f$i" or die; print $f "x" x $i; close $f }
my $bytes = 0;
find(sub { $bytes += -s $_ if -f $_ }, $dir);
print "found: $bytes bytes\n";
copy("$dir/a/f30", "$dir/copy") && move("$dir/copy", "$dir/moved");
print "copied: ", -s "$dir/moved", "\n";
symlink "a/f3", "$dir/link";
print "link: ", readlink("$dir/link"), " ", -s "$dir/link", " ", (-l "$dir/link" ? "a link" : "no link"), "\n";
printf "mode: %o\n", S_IMODE((stat "$dir/a")[2]);
print "exclusive: ", (sysopen(my $x, "$dir/moved", O_RDWR | O_CREAT | O_EXCL) ? "made" : $!{EEXIST} ? "EEXIST" : "other"), "\n";
opendir my $d, "$dir/a" or die;
print "entries: ", scalar(grep { !/^\./ } readdir $d), "\n";
closedir $d;

open(my $lock, ">", "$dir/lock") or die;
flock $lock, LOCK_EX;
$pid = fork // die;
if (!$pid) { open my $mine, ">", "$dir/lock" or die; POSIX::_exit(flock($mine, LOCK_EX | LOCK_NB) ? 0 : $!{EWOULDBLOCK} ? 1 : 2) }
waitpid $pid, 0;
print "lock held: ", $? >> 8, "\n";
close $lock;
remove_tree($dir);
print "removed: ", (-e $dir ? "no" : "yes"), "\n";

my $text = join " ", map { $_ * $_ % 1009 } 1 .. 5000;
my %words;
$words{$_}++ for split / /, $text;
print "words: ", scalar(keys %words), ", longest match: ", length(($text =~ /((?:\d+ ){20})/)[0]), "\n";
print "pid: ", ($$ == POSIX::getpid() ? "same" : "other"), ", parent: ", (getppid() > 0 ? "yes" : "no"), "\n";
print "user: ", (getpwuid($<))[0], ", group: ", (getgrgid(0))[0], "\n";
print "CONTRACT_PASS\n";
