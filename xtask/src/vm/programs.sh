# Runs every test binary of the image, says on the console how that went, and turns the machine off.
cd /tests || exit 1
status=0
for test in ./*; do
    echo "vm: $test"
    ORCH_BPF_OBJECT=/orch-bpf.o "$test" $filter 2>&1 || status=1
done
echo "vm: done with status $status, up for $(cut -d' ' -f1 /proc/uptime) s"
poweroff -f
