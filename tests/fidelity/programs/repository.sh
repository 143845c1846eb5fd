# Two commits, a branch, a merge, a clone and what they look like afterwards.
set -eu
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
git init -q -b main one
cd one
echo first > a; git add a; git commit -q -m first
git switch -q -c side; echo second > b; git add b; git commit -q -m second
git switch -q main; git merge -q --no-ff -m merged side
git gc -q --no-detach 2>/dev/null || git gc -q
git fsck --no-progress
cd ..
git clone -q --no-hardlinks one two
cd two
git log --format=%s
git status --short --branch
git grep -n second
