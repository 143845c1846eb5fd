# A shell and many applets in one static binary; this file is read by busybox sh.
set -eu
b=/bin/busybox
$b seq 1 5 | $b sort -r | $b tr '\n' ' '; $b echo
$b mkdir -p d/e; $b cp /bin/busybox d/; $b ls d; $b find d -type f | $b xargs $b md5sum | $b wc -l
$b tar -cf t.tar d; $b gzip t.tar; $b zcat t.tar.gz | $b tar -t | $b head -n 2
$b awk 'BEGIN { print 6 * 7 }'; $b sed 's/a/b/' <<EOT
banana
EOT
$b date -u -d @0 +%Y; $b id -u > /dev/null; $b uname -s; $b df . > /dev/null; $b ps > /dev/null
$b dd if=/dev/zero of=z bs=1k count=4 2> /dev/null; $b stat -c %s z; $b du z > /dev/null
($b sleep 0.01; $b echo late) & wait
$b rm -r d
