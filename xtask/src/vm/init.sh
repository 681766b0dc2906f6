#!/bin/busybox sh
# The first process of the machine of `cargo xtask test vm`: loads the modules in their order, runs
# the tests, says so on the console, and turns the machine off.
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf

for module in /modules/*; do
    insmod "$module" || exit 1
done
ip link set lo up

echo "vm: Linux $(uname -r), up for $(cut -d' ' -f1 /proc/uptime) s"
cd /tests || exit 1
status=0
for test in ./*; do
    echo "vm: $test"
    ORCH_BPF_OBJECT=/orch-bpf.o "$test" $(cat /arguments) 2>&1 || status=1
done
echo "vm: done with status $status, up for $(cut -d' ' -f1 /proc/uptime) s"
poweroff -f
