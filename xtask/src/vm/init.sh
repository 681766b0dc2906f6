#!/bin/busybox sh
# The first process of a machine of `cargo xtask test vm`: mounts what every system has, loads the
# modules in their order, and goes on with what is special to the machine.
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
. /settings
. /main
