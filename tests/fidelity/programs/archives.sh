# Pack and unpack with four compressors.
set -eu
mkdir in; seq 1 20000 > in/numbers; ln -s numbers in/link; truncate -s 1M in/sparse
for tool in gzip bzip2 xz; do
    tar --sort=name --mtime=@0 --sparse -cf - in | $tool > all.$tool
    mkdir out.$tool; $tool -dc all.$tool | tar -C out.$tool -xf -
    cmp in/numbers out.$tool/in/link
    tar -taf all.$tool | wc -l
done
gzip -k in/numbers; zcat in/numbers.gz | tail -1
