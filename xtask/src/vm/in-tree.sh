# The first process of a machine that has another's files, once it sees them as its own.
. /run/settings
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export CARGO_TARGET_DIR="$target" ORCH_SLOWNESS=12
# Whether packets are forwarded by the machine itself is what engines want to set.
echo 1 > /proc/sys/net/ipv4/ip_forward
cd "$target" || exit 1
"$test" $filter --test-threads=1 --nocapture 2>&1 < /dev/null
status=$?
# They are gone with this machine.
[ "$status" = 0 ] || grep -rh '' "$target/lab/logs" | tail -n 300
echo "vm: done with status $status, up for $(cut -d' ' -f1 /proc/uptime) s"
echo o > /proc/sysrq-trigger
# The first process must not end before the machine does.
sleep 60
