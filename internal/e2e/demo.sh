# What `make run` runs in the guest: one line a thing that a shell needs of its kernel.
set -u
echo "kernel: $(uname -s) on $(uname -m), pid $$"
echo "root: $(ls / | tr '\n' ' ')"
echo "pipes: $(printf '3\n1\n2\n' | sort | tr '\n' ' ')"
echo "arithmetic: $((6 * 7))"
mkdir -p /tmp/demo && cd /tmp/demo || exit 1
echo "Who wrote this memory?" >question
echo "files: $(cat question | wc -c) bytes in $(pwd)/$(ls)"
(sleep 0.1; exit 3) &
wait $!
echo "child: ended with status $?"
sh -c 'kill -TERM $$'
echo "signal: ended with status $?"
n=0
for i in 1 2 3 4 5 6 7 8; do (exit $i) || n=$((n + $?)); done
echo "forks: 8 children, sum of statuses $n"
sh -c 'exit 42'
echo "exit status: $?"
