#!/bin/sh
# programs/shell_jobs: scripts with many jobs at once: queues over fifos, locks, traps, time limits, process trees that are killed.
#
# Catches: lost SIGCHLD, waits that return for the wrong job, fifos that deadlock or lose lines, orphans that survive their group.
#
# Timeout: 3m
t() { echo "== $1"; shift; eval "$@" 2>&1; echo "-- $?"; }

t statuses 'for i in 1 2 3 4 5 6 7 8; do (exit $i) & eval p$i=$!; done; s=0; for i in 8 7 6 5 4 3 2 1; do eval wait \$p$i; s=$((s*2+$?)); done; echo $s'
t twenty 'i=0; while [ $i -lt 20 ]; do (echo line $i; exit 0) & i=$((i+1)); done | sort -k2 -n | tail -2; wait; echo all'
t queue 'mkfifo q; (for i in 1 2 3 4 5 6; do echo job $i; done > q) & n=0; while read a b; do n=$((n+b)); done < q; wait; echo $n; rm q'
t workers 'mkfifo q; sleep 60 > q & k=$!; : > done; for w in 1 2 3; do (while :; do while ! mkdir q.lock 2>/dev/null; do usleep 500; done; read x; rmdir q.lock; [ "$x" = end ] && break; echo "$x" >> done; done < q) & eval w$w=$!; done; for i in 1 2 3 4 5 6 7 8 9; do echo $i; done > q; for w in 1 2 3; do echo end > q; done; wait $w1 $w2 $w3; sort -n done | tr "\n" " "; { kill $k; wait $k; } 2>/dev/null; echo $?; rm q'
t tree 'setsid sh -c "sleep 61 & sleep 62 & (sleep 63 & wait) & wait" & p=$!; i=0; while [ $(ps -o args | grep -c "^sleep 6[123]") -lt 3 ] && [ $i -lt 500 ]; do usleep 10000; i=$((i+1)); done; { kill -9 -$p; wait $p; } 2>/dev/null; echo $?; i=0; while ps -o args | grep -q "^sleep 6[123]" && [ $i -lt 500 ]; do usleep 10000; i=$((i+1)); done; ps -o args | grep -c "^sleep 6[123]"'
t timeouts 'timeout 0.05 sleep 64; echo $?; timeout -s KILL 0.05 sleep 65; echo $?; timeout 20 sh -c "exit 3"; echo $?'
t traps 'sh -c "trap \"echo got term; exit 4\" TERM; trap \"echo leaving\" EXIT; echo \$\$ > pid; while :; do usleep 1000; done" & p=$!; while [ ! -s pid ]; do usleep 1000; done; kill $p; wait $p; echo $?; rm pid'
t wait_interrupted 'sh -c "trap \"echo usr1\" USR1; sleep 66 & echo \$! > kid; wait; echo waited \$?; kill \$(cat kid)" & p=$!; while [ ! -s kid ]; do usleep 1000; done; i=0; while ! grep -q "^State:.S" /proc/$p/status && [ $i -lt 500 ]; do usleep 1000; i=$((i+1)); done; kill -USR1 $p; wait $p; echo $?; rm kid'
t locks 'echo 0 > n; for w in 1 2 3 4; do (for i in 1 2 3 4 5 6 7 8 9 10; do while ! mkdir n.lock 2>/dev/null; do usleep 500; done; read x < n; echo $((x+1)) > n; rmdir n.lock; done) & done; wait; cat n'
t pipestorm 'for i in 1 2 3 4 5; do seq 2000 | grep -v 3 | sed s/4/x/ | sort | uniq | wc -l & done; wait'
t long 'seq 20000 | while read x; do [ $((x % 5000)) = 0 ] && echo $x; done'
t deep 'f() { [ $1 = 0 ] && { echo bottom; return 7; }; (f $(($1-1))); }; f 25; echo $?'
t substitution 'x=$(for i in 1 2 3; do echo $(echo $(echo $i)); done); echo $x; echo "$(seq 5000)" | tail -1'
t here 'cat <<E | tr a-z A-Z
$(echo inside) $((3*4))
E'
t stopped 'sleep 67 & p=$!; kill -STOP $p; i=0; while ! grep -q "^State:.T" /proc/$p/status && [ $i -lt 500 ]; do usleep 1000; i=$((i+1)); done; grep ^State /proc/$p/status | cut -f2; kill -CONT $p; { kill $p; wait $p; } 2>/dev/null; echo $?'
t sigpipe 'sh -c "yes; echo \$? >&2" 2>err | head -1; cat err; sh -c "trap \"\" PIPE; yes 2>/dev/null; echo \$? >&2" 2>err | head -1; cat err'
t subshells '(x=1; (x=2; (x=3; echo $x); echo $x); echo $x); { exec 5> f; echo to5 >&5; exec 5>&-; }; cat f'
t background_read 'read x < /dev/null & wait $!; echo $?; echo in | (read y; echo $y) & wait'
t exec 'sh -c "exec sh -c \"exec sh -c \\\"exit 8\\\"\""; echo $?; (exec 3< /nothing); echo $?'
echo CONTRACT_PASS
