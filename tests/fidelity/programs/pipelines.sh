# Pipelines, substitution of processes, here-documents, jobs and traps.
set -eu
seq 1 1000 | sort -rn | head -3 | tr '\n' ' '
printf '%s\n' b a c a | sort | uniq -c | awk '{print $2 $1}' | paste -sd,
diff <(seq 1 3) <(seq 2 4) || true
cat <<EOT
here $((6 * 7))
EOT
trap 'echo trapped' USR1
kill -USR1 $$
for n in 1 2 3; do (exit "$n") & done
wait
timeout 0.05 sleep 10 || echo "timed out: $?"
coproc cat
echo through >&"${COPROC[1]}"
read -r line <&"${COPROC[0]}"
echo "$line"
