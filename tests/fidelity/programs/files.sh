# What installers and build scripts do with files.
set -eu
mkdir -p a/b; echo one > a/b/f; ln a/b/f a/hard; ln -s b/f a/soft
chmod 640 a/b/f; touch -d 2020-01-01 a/b/f; chown 1:1 a/hard
cp -a a c; mv c d; install -m 755 a/b/f e
dd if=/dev/zero of=zero bs=4096 count=4 status=none; truncate -s 1M zero; sync zero
mkfifo p; mknod q p
stat -c '%a %s' a/b/f zero e; readlink a/soft; cat d/soft
split -n 4 zero part.; ls part.* | wc -l
sha256sum zero | cut -c1-8
df . > /dev/null; du -s . > /dev/null
rm -rf a d; ls
