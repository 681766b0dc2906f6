# Puts a layer in memory over the files of the machine that emulates this one, and moves there.
# Changing the root only for one process would not do: what a lab runs in its hosts' namespaces
# would still see the image.
mkdir -p /host /layer /tree
mount -t virtiofs -o ro host /host || exit 1
mount -t tmpfs layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work tree /tree || exit 1
for folder in proc sys dev; do
    mount --move "/$folder" "/tree/$folder"
done
# Engines cannot put their own layers over this one: their hosts' disks are beside it.
for folder in "$disks" /run; do
    mkdir -p "/tree$folder"
    mount -t tmpfs tmp "/tree$folder"
done
mkdir -p /tree/dev/pts /tree/dev/shm "/tree/lib/modules/$(uname -r)"
mount -t devpts pts /tree/dev/pts
mount -t tmpfs shm /tree/dev/shm
mount --bind "/tree$modules" "/tree/lib/modules/$(uname -r)"
cp /settings /in-tree /tree/run/
exec switch_root /tree /bin/sh /run/in-tree
