# The first process of a lab host: makes the host's file tree its own, then waits to be killed.
# The kernel ends everything else on the host with it, and with the last process go the mounts.
# Wants: NODE, STATE (the host's folder), RESOLVER, NODES (how many), SUBNET (first three bytes).
set -eu
hostname "$NODE"

# An own /run: plugin sockets, engine sockets and shims of two hosts must not meet. Only the
# lab's own folder and the network namespaces are still the machine's.
run="$STATE/run"
mkdir -p "$run"
mount -t tmpfs -o mode=755 run "$run"
mkdir -p "$run/orchd-lab" "$run/netns" "$run/docker/plugins" "$run/lock" "$run/mount" \
    "$run/etc" "$run/etc-work"
mount --bind /run/orchd-lab "$run/orchd-lab"
mount --rbind /run/netns "$run/netns"
mount --move "$run" /run

# An own /etc: the machine's stays untouched by an engine's key file, and the resolver here is
# one that refuses at once.
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/etc-work etc /etc
rm -rf /etc/docker /etc/resolv.conf
echo "nameserver $RESOLVER" >/etc/resolv.conf
{
    echo "127.0.0.1 localhost"
    echo "::1 localhost"
    index=1
    while [ "$index" -le "$NODES" ]; do
        echo "$SUBNET.$index n$index"
        index=$((index + 1))
    done
} >/etc/hosts

# An own BPF file system: what a host pinned ends with it.
mount -t bpf bpf /sys/fs/bpf

touch "/run/orchd-lab/$NODE/ready"
# Orphans of the host become children of this shell; wait also reaps those it did not start.
while :; do
    sleep 1000000 &
    wait
done
